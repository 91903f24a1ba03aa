/**
 * The opponent: llama.cpp as it is, through the same libraries, with its own defaults. It maps the model with read-ahead
 * of the whole file and leaves the rest to the kernel's paging; nothing of ours touches its memory.
 */
import { Batch, createContext, loadLibraries, loadModel } from "../llama/index.ts";
import type { ContenderRun, StockJob } from "./contender-protocol.ts";
import { forceTokens } from "./teacher-forcing.ts";

/** The context ended a decode with something else than success. */
export class StockDecodeError extends Error {
  override readonly name = "StockDecodeError";
}

/** Runs the job in this process, which should do nothing else: RSS and reads are counted from its start. */
export function runStock(job: StockJob, startedAtEpochMs: number): ContenderRun {
  const libraries = loadLibraries();
  using model = loadModel(libraries, job.modelPath, { repackWeights: job.repack });
  const contextSize = Math.max(...job.windows.map(({ tokens }) => tokens.length));
  using context = createContext(model, { contextSize, threads: job.threads });
  using batch = new Batch({ capacity: context.batchSize });
  const loadMs = Date.now() - startedAtEpochMs;

  let position = 0;
  const decoder = {
    startSequence() {
      context.clear();
      position = 0;
    },
    decode(tokens: Int32Array) {
      batch.clear();
      for (let i = 0; i < tokens.length; i++) batch.add(tokens[i], position++, 0, i === tokens.length - 1);
      const result = context.decode(batch);
      if (result.status !== "ok") throw new StockDecodeError(`llama_decode: ${JSON.stringify(result)}`);
    },
    logits: () => context.logits(-1),
  };
  const { figures } = forceTokens(job, startedAtEpochMs, decoder, NO_COUNTERS);
  return {
    system: "llama.cpp",
    versions: { node: process.version, llamaCpp: libraries.version },
    loadMs,
    ...figures,
    experts: undefined,
    steps: undefined,
    firstPrompt: undefined,
    details: { repack: job.repack, batchSize: context.batchSize, microBatchSize: context.microBatchSize },
  };
}

const NO_COUNTERS = { read: () => undefined, add: () => undefined };
