/**
 * What a drive itself can do, beside which a cache's figures are to be read: random 4 KiB reads with n in flight and sequential
 * writes, past the page cache, straight on the kernel's queue without promises or copies. Of a scratch file of its own.
 */
import fs from "node:fs";
import path from "node:path";
import { AioQueue } from "../../memory/aio-queue.ts";
import { releaseMemory, reserveMemory } from "../../memory/libc.ts";
import { Randomness } from "../../predict/randomness.ts";
import { PAGE_BYTES } from "./zone-device.ts";

export interface MeasureDeviceOptions {
  /** On the drive to measure; the scratch file is made here and removed. */
  readonly directory: string;
  /** Reads in flight. @default 64 */
  readonly inFlight?: number;
  /** Of reading, and as long of writing; the thread is blocked meanwhile. @default 3 */
  readonly seconds?: number;
  /** Size of the scratch file, whole MiB: as large as the cache, or a drive with RAM of its own flatters. @default 1 GiB */
  readonly bytes?: number;
}

export interface DeviceFigures {
  readonly inFlight: number;
  readonly readsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p9999Us: number;
  /** Over a file that was written once before, synced at the end; 1 MiB at a time, four in flight. */
  readonly writeBytesPerSecond: number;
}

const SLICE_BYTES = 2 ** 20;
const SLICES_IN_FLIGHT = 4;
/** Latencies kept, from the first on: enough for p99.99. */
const SAMPLES = 2_000_000;

/** @throws SystemCallError without Linux AIO, errors of `node:fs` as they are (EINVAL without O_DIRECT, ENOSPC) */
export function measureDevice(options: MeasureDeviceOptions): DeviceFigures {
  const { directory, inFlight = 64, seconds = 3, bytes = 2 ** 30 } = options;
  return withScratchFile(directory, (fd) => {
    // Space that was never written reads as zeros without the drive, and costs more to write the first time.
    write(fd, bytes, 0);
    return { inFlight, ...read(fd, bytes, inFlight, seconds), writeBytesPerSecond: write(fd, bytes, seconds) };
  });
}

function withScratchFile<T>(directory: string, work: (fd: number) => T): T {
  const file = path.join(directory, `.measure-device-${process.pid}`);
  const { O_RDWR, O_CREAT, O_EXCL, O_DIRECT } = fs.constants;
  const fd = fs.openSync(file, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0o600);
  try {
    // Unlinked at once: nothing is left when this is interrupted.
    fs.unlinkSync(file);
    return work(fd);
  } finally {
    fs.closeSync(fd);
  }
}

export interface MeasureBurstsOptions {
  /** As of `MeasureDeviceOptions`. */
  readonly directory: string;
  readonly bytes: number;
  /** Written in one go, whole MiB; `bytes` at most. */
  readonly burstBytes: number;
  /** Between bursts, in which the thread is busy with something else. */
  readonly pauseMs: number;
  /** @default 2 */
  readonly seconds?: number;
}

/**
 * Bytes each second while something is written, in bursts with pauses: a drive that has been idle for some milliseconds wakes up
 * first, and none reaches its sequential speed that way. @throws like `measureDevice`
 */
export function measureBursts(options: MeasureBurstsOptions): number {
  const { directory, bytes, pauseMs, seconds = 2 } = options;
  const burstBytes = Math.min(options.burstBytes, bytes);
  return withScratchFile(directory, (fd) => {
    write(fd, bytes, 0);
    using writer = new SliceWriter(fd);
    const end = performance.now() + 1000 * seconds;
    let burst = 0;
    let writingMs = 0;
    for (; performance.now() < end; burst++) {
      for (const pauseEnd = performance.now() + pauseMs; performance.now() < pauseEnd; );
      const startedAt = performance.now();
      writer.write((burst * burstBytes) % (bytes - (bytes % burstBytes)), burstBytes);
      writingMs += performance.now() - startedAt;
    }
    return (1000 * burst * burstBytes) / writingMs;
  });
}

function read(
  fd: number,
  bytes: number,
  inFlight: number,
  seconds: number,
): Omit<DeviceFigures, "inFlight" | "writeBytesPerSecond"> {
  const memory = reserveMemory(inFlight * PAGE_BYTES);
  const random = new Randomness(1);
  const pages = bytes / PAGE_BYTES;
  const begun = new Float64Array(inFlight);
  const latenciesMs = new Float64Array(SAMPLES);
  let done = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  const next = (slot: number) => {
    begun[slot] = performance.now();
    const offset = Math.floor(random.next() * pages) * PAGE_BYTES;
    queue.queue(fd, "read", offset, memory + slot * PAGE_BYTES, PAGE_BYTES, slot);
  };
  const queue = new AioQueue(inFlight, (slot, result) => {
    if (result !== PAGE_BYTES) throw new Error(`A read of the scratch file ended with ${result}.`);
    const now = performance.now();
    if (done < SAMPLES) latenciesMs[done] = now - begun[slot];
    done++;
    if (now < end) next(slot);
  });
  for (let slot = 0; slot < inFlight; slot++) next(slot);
  queue.submit();
  while (queue.pending > 0) {
    queue.collect(1);
    queue.submit();
  }
  const readsPerSecond = (done / (performance.now() - start)) * 1000;
  queue.close();
  releaseMemory(memory, inFlight * PAGE_BYTES);
  const sorted = latenciesMs.subarray(0, Math.min(done, SAMPLES)).sort();
  const quantileUs = (share: number) => 1000 * sorted[Math.floor(share * (sorted.length - 1))];
  return { readsPerSecond, p50Us: quantileUs(0.5), p99Us: quantileUs(0.99), p9999Us: quantileUs(0.9999) };
}

/** Bytes per second, of one pass at least. */
function write(fd: number, bytes: number, seconds: number): number {
  using writer = new SliceWriter(fd);
  const start = performance.now();
  const end = start + seconds * 1000;
  let passes = 0;
  let written = 0;
  for (; passes === 0 || performance.now() < end; passes++)
    written += writer.write(0, bytes, () => passes > 0 && performance.now() >= end);
  fs.fdatasyncSync(fd);
  return (written / (performance.now() - start)) * 1000;
}

/** Writes a stretch of a file, some slices in flight. */
class SliceWriter implements Disposable {
  readonly #fd: number;
  readonly #memory = reserveMemory(SLICES_IN_FLIGHT * SLICE_BYTES);
  readonly #queue: AioQueue;
  #next: (slot: number) => void = () => {};

  constructor(fd: number) {
    this.#fd = fd;
    this.#queue = new AioQueue(SLICES_IN_FLIGHT, (slot, result) => {
      if (result !== SLICE_BYTES) throw new Error(`A write of the scratch file ended with ${result}.`);
      this.#next(slot);
    });
  }

  /** @param isEnough whether to stop before the end @returns bytes written */
  write(from: number, bytes: number, isEnough: () => boolean = () => false): number {
    let begun = 0;
    this.#next = (slot) => {
      if (begun >= bytes || isEnough()) return;
      this.#queue.queue(this.#fd, "write", from + begun, this.#memory + slot * SLICE_BYTES, SLICE_BYTES, slot);
      begun += SLICE_BYTES;
    };
    for (let slot = 0; slot < SLICES_IN_FLIGHT; slot++) this.#next(slot);
    this.#queue.submit();
    while (this.#queue.pending > 0) {
      this.#queue.collect(1);
      this.#queue.submit();
    }
    return begun;
  }

  [Symbol.dispose](): void {
    this.#queue.close();
    releaseMemory(this.#memory, SLICES_IN_FLIGHT * SLICE_BYTES);
  }
}
