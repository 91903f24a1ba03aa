/**
 * The program of one layout of `process-layouts.ts`: generates 400 tokens, the first of them twice, and says how long
 * they took, as seen by whoever asks for them, and how much memory the layout takes.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import { openModel } from "../engine/open-model.ts";
import { processMemory } from "../engine/process-memory.ts";
import { dieWithParent } from "../memory/libc.ts";
import { readMessage, writeResult } from "./child-message.ts";
import { residentBytesOf } from "./process-figures.ts";
import type { LayoutMessage, LayoutRun } from "./process-layouts.ts";
import { openForTokens, PROMPT, type TokenMaker } from "./process-tokens.ts";

/**
 * Tokens per call; each call goes on where the one before ended, but for `again`, which repeats the first tokens: a token
 * takes longer the more there are before it, and only equal positions show what warming up is worth.
 */
const CALLS = [
  { name: "prompt", tokens: 1 },
  { name: "first", tokens: 50 },
  { name: "between", tokens: 149 },
  { name: "warm", tokens: 200 },
  { name: "prompt", tokens: 1, restart: true },
  { name: "again", tokens: 50 },
] as const;

// A bench that is killed outright cannot end its children.
dieWithParent();
const message = readMessage() as LayoutMessage;
switch (message.where) {
  case "main": {
    using maker = openForTokens(message);
    writeResult(await run(async (tokens, count) => maker.make(tokens, count, () => {})));
    break;
  }
  case "worker":
    writeResult(await inWorker(message));
    break;
  case "openModel": {
    await using model = await openModel(message.modelPath, { memory: "all", threads: message.threads });
    const make: TokenMaker = async (tokens, count) => {
      const options = { maxTokens: count, temperature: 0, ignoreEndOfGeneration: true };
      const generation = model.generate(Int32Array.from(tokens), options);
      for await (const _piece of generation);
      return (await generation.result).tokens;
    };
    const { residentBytes, ...times } = await run(make);
    writeResult({ ...times, residentBytes: { ...residentBytes, model: residentBytesOf(model.pid) } });
    break;
  }
  default:
    message.where satisfies never;
}

async function run(make: TokenMaker): Promise<LayoutRun> {
  let tokens: readonly number[] = PROMPT;
  const ms = { prompt: 0, first: 0, between: 0, warm: 0, again: 0 };
  for (const call of CALLS) {
    if ("restart" in call) tokens = PROMPT;
    const start = performance.now();
    const made = await make(tokens, call.tokens);
    ms[call.name] = (performance.now() - start) / made.length;
    tokens = [...tokens, ...made];
  }
  const asker = processMemory().residentBytes;
  return { firstMs: ms.first, warmMs: ms.warm, againMs: ms.again, residentBytes: { asker, model: undefined } };
}

async function inWorker(options: LayoutMessage): Promise<LayoutRun> {
  const worker = new Worker(compiledModule(import.meta.url, "./process-worker.js"), { workerData: options });
  const make: TokenMaker = (tokens, count) =>
    new Promise((resolve, reject) => {
      worker.removeAllListeners();
      worker.on("error", reject);
      worker.on("message", (answer: string | readonly number[]) => {
        if (typeof answer !== "string") resolve(answer);
      });
      worker.postMessage({ tokens, count });
    });
  const result = await run(make);
  await worker.terminate();
  return result;
}
