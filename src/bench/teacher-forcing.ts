/**
 * The measuring loop, the same code for every contender: prefill each window's prompt, then give it the text's own
 * next token, one a step, and time each step. What decodes is behind `Decoder`; nothing here knows of experts.
 */

import type { ContenderRun, JobBase } from "./contender-protocol.ts";
import type { TokenWindow } from "./held-out.ts";
import { bytesReadFromStorage, majorFaults, peakRssBytes } from "./process-figures.ts";
import { quantile } from "./quantile.ts";

export interface Decoder {
  /** Forgets what was decoded; the next token has position 0. */
  startSequence(): void;
  /** Computes the tokens behind those decoded before, and the logits of the last one. */
  decode(tokens: Int32Array): void;
  /** Logits of the last token, one per entry of the vocabulary; valid until the next call. */
  logits(): Float32Array;
}

/** Counters that only count while the window `[resume, pause)` is open: `read` is called at both ends. */
export interface CountedFigures<T> {
  read(): T;
  add(total: T | undefined, from: T, to: T): T;
}

export type ForcedFigures = Pick<
  ContenderRun,
  | "ttftMs"
  | "bytesBeforeFirstToken"
  | "prefillMs"
  | "tokens"
  | "tpotMs"
  | "tokensPerSecond"
  | "p50"
  | "p95"
  | "bytesRead"
  | "majorFaults"
  | "peakRssBytes"
  | "predictions"
>;

/** Decodes all windows of the job. `counters` are summed over the counted tokens only, without the prefills between. */
export function forceTokens<T>(
  job: JobBase,
  startedAtEpochMs: number,
  decoder: Decoder,
  counters: CountedFigures<T>,
): { readonly figures: ForcedFigures; readonly counted: T | undefined } {
  const prefillMs: number[] = [];
  const tpotMs: number[] = [];
  const predictions: number[] = [];
  let ttftMs = 0;
  let bytesBeforeFirstToken = 0;
  let bytesRead = 0;
  let faults = 0;
  let counted: T | undefined;
  let warmupLeft = job.warmupTokens;

  for (const window of job.windows) {
    decoder.startSequence();
    const { prompt, forced } = split(window);
    prefillMs.push(timed(() => decoder.decode(prompt)));
    predictions.push(mostLikely(decoder.logits()));
    if (ttftMs === 0) {
      ttftMs = Date.now() - startedAtEpochMs;
      bytesBeforeFirstToken = bytesReadFromStorage();
    }
    const step = new Int32Array(1);
    const decodeOne = (token: number) => {
      step[0] = token;
      const ms = timed(() => decoder.decode(step));
      predictions.push(mostLikely(decoder.logits()));
      return ms;
    };
    const uncounted = Math.min(warmupLeft, forced.length);
    warmupLeft -= uncounted;
    for (const token of forced.subarray(0, uncounted)) decodeOne(token);
    if (uncounted === forced.length) continue;

    const before = { bytes: bytesReadFromStorage(), faults: majorFaults(), counters: counters.read() };
    for (const token of forced.subarray(uncounted)) tpotMs.push(decodeOne(token));
    bytesRead += bytesReadFromStorage() - before.bytes;
    faults += majorFaults() - before.faults;
    counted = counters.add(counted, before.counters, counters.read());
  }

  const figures = {
    ttftMs,
    bytesBeforeFirstToken,
    prefillMs,
    tokens: tpotMs.length,
    tpotMs,
    tokensPerSecond: (1000 * tpotMs.length) / tpotMs.reduce((sum, ms) => sum + ms, 0),
    p50: quantile(tpotMs, 0.5),
    p95: quantile(tpotMs, 0.95),
    bytesRead,
    majorFaults: faults,
    peakRssBytes: peakRssBytes(),
    predictions,
  };
  return { figures, counted };
}

function split(window: TokenWindow): { prompt: Int32Array; forced: Int32Array } {
  const tokens = Int32Array.from(window.tokens);
  return { prompt: tokens.subarray(0, window.promptTokens), forced: tokens.subarray(window.promptTokens) };
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
