/**
 * How long a model computes on this machine while its experts are streamed, piece by piece, and what the engine itself
 * takes: measured on shipped text in a session of the engine. It holds its thread, so it runs in a process of its own.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { openSession } from "../engine/open-session.ts";
import type { Session } from "../engine/session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../gguf/index.ts";
import { nextUse } from "../policy/index.ts";
import { REQUEST_BYTES } from "../simulate/disk-model.ts";
import type { MeasuredCompute } from "../simulate/profile.ts";
import { fitCompute, fitEngine, type ReadWait, readWaits, spreadOf, trimmedMean } from "./fit.ts";
import { type PassTimes, StreamStopwatch } from "./stream-stopwatch.ts";

export interface ComputeProbeJob {
  readonly modelPath: string;
  readonly expertBytes: number;
  readonly threads: number;
  readonly textFile: string;
}

/** Enough for a mean that two runs agree on to 2 %. */
const DECODE_TOKENS = 64;
const WARMUP_TOKENS = 8;
const LONGEST_WARMUP = 72;
const PROMPT_TOKENS = 64;
const PROMPTS = 2;

export interface ComputeProbe {
  readonly compute: MeasuredCompute;
  readonly waits: readonly ReadWait[];
  readonly stages: number;
}

export function probeCompute({ modelPath, expertBytes, threads, textFile }: ComputeProbeJob): ComputeProbe {
  const gguf = openGguf(modelPath);
  const layout = readMoeLayout(gguf);
  const shape = toModelShape(layout);
  const stages = layout.moeLayers[0].slices.length;
  using session = openSession(modelPath, {
    memory: { kind: "experts", bytes: expertBytes },
    policy: nextUse(),
    contextSize: LONGEST_WARMUP + DECODE_TOKENS + PROMPT_TOKENS,
    microBatchTokens: PROMPT_TOKENS,
    threads,
  });
  if (session.stream === undefined)
    throw new Error("All experts are in memory; nothing is streamed that could be timed");
  const stopwatch = new StreamStopwatch(session.stream, shape.layers, stages);
  const words = session.model.vocabulary.tokenize(readFileSync(textFile, "utf8").slice(0, 20_000));
  const text = new TokenStream(words);

  let position = WARMUP_TOKENS;
  session.feed(text.next(WARMUP_TOKENS), 0);
  // Until experts take the places of others: the first ones get fresh pages, which take longer.
  while (evictionsOf(session) === 0 && position < LONGEST_WARMUP) session.feed(text.next(1), position++);
  // Turn by turn, so that a drive or a processor that changes its speed changes both alike.
  const stopping: PassTimes[] = [];
  const running: PassTimes[] = [];
  for (let i = 0; i < DECODE_TOKENS; i++) {
    stopwatch.everyProduct = i % 2 === 0;
    const pass = stopwatch.pass(1, () => session.feed(text.next(1), position++));
    (stopwatch.everyProduct ? stopping : running).push(pass);
  }
  const prompts: PassTimes[] = [];
  stopwatch.everyProduct = true;
  const promptTokens = Math.min(PROMPT_TOKENS, session.microBatchTokens);
  for (let i = 0; i < PROMPTS && promptTokens > 1; i++) {
    session.context.clear();
    prompts.push(stopwatch.pass(promptTokens, () => session.feed(text.next(promptTokens), 0)));
  }
  const requestsOfExpert = layout.moeLayers.map(({ slices }) =>
    slices.reduce((sum, { strideBytes }) => sum + Math.ceil(strideBytes / REQUEST_BYTES), 0),
  );
  const { graphStopMs, cost } = fitEngine({ stopping, running, requestsOfExpert });
  const msPerToken = trimmedMean(running.map(({ computeMs, stops }) => computeMs - stops * graphStopMs));
  const compute: MeasuredCompute = {
    modelPath,
    modelName: gguf.metadata.optionalString("general.name") ?? path.basename(modelPath, ".gguf"),
    shape,
    denseBytes: layout.denseBytes,
    threads,
    msPerToken,
    spread: spreadOf(running.map(({ computeMs }) => computeMs)),
    model: fitCompute({ shape, stages, decode: stopping, prompts, graphStopMs, msPerToken }),
    engine: cost,
    decodeTokens: DECODE_TOKENS,
    promptTokens: promptTokens * prompts.length,
  };
  return { compute, waits: readWaits([...stopping, ...running], requestsOfExpert), stages };
}

function evictionsOf(session: Session): number {
  const { prefill, decode } = session.stream!.cache.statistics();
  return prefill.evictionsForDemand + decode.evictionsForDemand;
}

/** A text's tokens over and over. */
class TokenStream {
  readonly #tokens: Int32Array;
  #at = 0;

  constructor(tokens: ArrayLike<number>) {
    this.#tokens = Int32Array.from(tokens);
  }

  next(count: number): Int32Array {
    return Int32Array.from({ length: count }, () => this.#tokens[this.#at++ % this.#tokens.length]);
  }
}
