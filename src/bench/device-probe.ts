/**
 * What the device gives on its own to reads like the engine's: same file, same request size, O_DIRECT, nothing else
 * running. Which bytes are read is decided first (`planProbe`, pure), then done through the engine's own read engine.
 */
import { closeSync, constants, openSync, statSync } from "node:fs";
import { createAio } from "../memory/aio.ts";
import { PAGE_BYTES } from "../memory/libc.ts";
import { ceilTo } from "../memory/page-plan.ts";
import type { ReadDone, ReadEngine, ReadFailure } from "../memory/read-engine.ts";
import { MemoryRegion } from "./memory-region.ts";

/**
 * Where requests go: each to a place of its own, one after the other through the file, or, as the engine reads, side
 * by side within a slice (one matrix of an expert) and then on to another slice.
 */
export type ProbePattern = "random" | "sequential" | "slices";

export interface ProbeOptions {
  /** A multiple of 4096. @default 1 MiB, the engine's request */
  readonly requestBytes?: number;
  /** Requests in flight. @default 8 */
  readonly depth?: number;
  /** @default 512 MiB: about half a second */
  readonly totalBytes?: number;
  /** @default "random" */
  readonly pattern?: ProbePattern;
  /** Of the pattern "slices"; rounded up to pages. @default 8.5 MiB, a slice of the inflated demo model */
  readonly sliceBytes?: number;
  /** Where a probe reads. Probes that follow one another should differ. @default 1 */
  readonly seed?: number;
}

export interface ProbeRequest {
  /** A multiple of the page size. */
  readonly offset: number;
  /** `requestBytes`, or less at the end of a slice. */
  readonly bytes: number;
}

interface ProbeConditions {
  readonly requestBytes: number;
  readonly depth: number;
  readonly pattern: ProbePattern;
  /** Bytes that are read side by side before the next jump: a slice, or one request. */
  readonly contiguousBytes: number;
}

export interface ProbePlan extends ProbeConditions {
  /** In order, each wholly inside the file. */
  readonly requests: readonly ProbeRequest[];
}

export interface ProbeResult extends ProbeConditions {
  readonly bytes: number;
  readonly ms: number;
  readonly bytesPerSecond: number;
}

/** A matrix of 4,096 x 2,048 weights in Q8_0. */
const DEFAULT_SLICE_BYTES = 8.5 * 2 ** 20;

export function planProbe(fileBytes: number, options: ProbeOptions = {}): ProbePlan {
  const { requestBytes = 2 ** 20, depth = 8, totalBytes = 2 ** 29, pattern = "random", seed = 1 } = options;
  if (requestBytes % PAGE_BYTES !== 0 || requestBytes <= 0)
    throw new RangeError(`Direct reads need a multiple of ${PAGE_BYTES} bytes, not ${requestBytes}`);
  const contiguousBytes =
    pattern === "slices" ? ceilTo(options.sliceBytes ?? DEFAULT_SLICE_BYTES, PAGE_BYTES) : requestBytes;
  const slots = Math.floor(fileBytes / contiguousBytes);
  if (slots === 0) throw new RangeError(`A file of ${fileBytes} bytes has no room for a read of ${contiguousBytes}`);
  // No place twice: a second read could come from a cache of the drive.
  const visits = Math.min(slots, Math.max(1, Math.floor(totalBytes / contiguousBytes)));
  const step = pattern === "sequential" ? 1 : coprimeStep(slots, seed);
  const requests: ProbeRequest[] = [];
  for (let visit = 0, slot = Math.abs(seed) % slots; visit < visits; visit++, slot = (slot + step) % slots)
    for (let from = 0; from < contiguousBytes; from += requestBytes)
      requests.push({
        offset: slot * contiguousBytes + from,
        bytes: Math.min(requestBytes, contiguousBytes - from),
      });
  return { requestBytes, depth, pattern, contiguousBytes, requests };
}

/** Steps of this length visit all slots before one comes twice, far apart from each other. */
function coprimeStep(slots: number, seed: number): number {
  let step = Math.max(1, Math.floor(slots * (0.38 + 0.01 * (Math.abs(seed) % 7))));
  while (gcd(step, slots) !== 1) step++;
  return step;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/**
 * Runs a plan on `file`, bypassing the page cache. Throws what `open` throws where the file system has no O_DIRECT
 * (EINVAL), `SystemCallError` without AIO, and `ProbeFailedError` for a failed read.
 */
export function probeDevice(file: string, plan: ProbePlan): ProbeResult {
  const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  try {
    // As the engine's first pages and those it moves later: the device takes longer over scattered ones.
    using buffers = new MemoryRegion(plan.depth * plan.requestBytes, "huge");
    // Before the clock runs: faulting pages in costs as much as reading them from a fast drive.
    buffers.touch();
    return timeReads(plan, buffers.address, (done) => createAio([{ path: file, fd }], done, { depth: plan.depth }));
  } finally {
    closeSync(fd);
  }
}

/** Fastest of the plans' depths: the engine keeps as many requests in flight as it likes, so it is held to the best. */
export function probeBest(file: string, depths: readonly number[], options: ProbeOptions = {}): ProbeResult {
  const bytes = statSync(file).size;
  const results = depths.map((depth, i) =>
    probeDevice(file, planProbe(bytes, { ...options, depth, seed: (options.seed ?? 1) + i })),
  );
  return results.reduce((best, result) => (result.bytesPerSecond > best.bytesPerSecond ? result : best));
}

export class ProbeFailedError extends Error {
  override readonly name = "ProbeFailedError";
  readonly failure: ReadFailure;

  constructor(failure: ReadFailure) {
    super(`Reading ${failure.bytes} bytes at ${failure.offset} of ${failure.file} failed (errno ${failure.errno})`);
    this.failure = failure;
  }
}

/** `address` has `depth * requestBytes` bytes of memory. */
function timeReads(plan: ProbePlan, address: number, openEngine: (done: ReadDone) => ReadEngine): ProbeResult {
  const { requests, ...conditions } = plan;
  const freeBuffers = Array.from({ length: plan.depth }, (_, i) => i);
  let failure: ReadFailure | undefined;
  const engine = openEngine((buffer, _bytes, error) => {
    freeBuffers.push(buffer);
    failure ??= error;
  });
  let total = 0;
  const start = performance.now();
  for (const { offset, bytes } of requests) {
    while (freeBuffers.length === 0) engine.reap(1);
    const buffer = freeBuffers.pop()!;
    engine.submit(0, offset, address + buffer * plan.requestBytes, bytes, bytes, buffer);
    total += bytes;
  }
  while (engine.inFlight > 0) engine.reap(1);
  const ms = performance.now() - start;
  engine.close();
  if (failure !== undefined) throw new ProbeFailedError(failure);
  return { ...conditions, bytes: total, ms, bytesPerSecond: (total * 1000) / ms };
}
