/**
 * What the kernel takes for the pages of expert memory: faulting them in, moving them, giving them back, and reading
 * into them with the engine's own read engine. One thread, nothing else running, CPU time of that thread; medians are
 * the caller's business.
 */
import { closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { createAio } from "../memory/aio.ts";
import { adviseMemory, MADV_DONTNEED, PAGE_BYTES, viewMemory } from "../memory/libc.ts";
import type { ReadFailure } from "../memory/read-engine.ts";
import { ProbeFailedError, type ProbeRequest, planProbe } from "./device-probe.ts";
import { MemoryRegion, moveSlices } from "./memory-region.ts";
import { median } from "./quantile.ts";
import { threadCpuClock } from "./thread-cpu-time.ts";

const MIB = 2 ** 20;
const DEPTH = 4;
/** Moves are so short that something else of the process can fall into one of them. */
const MOVES = 5;

/** CPU time, us per MiB; undefined where the kernel does not do it. */
export interface MemoryCosts {
  readonly faultSmall: number;
  readonly faultHuge: number | undefined;
  /** Between places whose page tables exist but are not cut alike, which is how experts lie. */
  readonly moveSmall: number | undefined;
  /** Between places that lie alike within 2 MiB: the kernel moves whole page tables. */
  readonly moveAligned: number | undefined;
  /** To a place that is not aligned for huge pages, as nearly all are: the kernel splits them on the way. */
  readonly moveHuge: number | undefined;
  readonly freeSmall: number;
}

/** The pages that a read lands in: new from the kernel, there already, or moved from where they were huge. */
export type ReadTarget = "fresh" | "fresh huge" | "present" | "present huge" | "moved";

export interface ReadCosts {
  readonly bytesPerSecond: number;
  /** CPU time inside io_submit, us per MiB. */
  readonly submitCpuUsPerMiB: number;
  /** CPU time of the thread for all of it, us per MiB. */
  readonly cpuUsPerMiB: number;
}

const cpuMs = threadCpuClock();

/** Each cost once, on fresh regions of `bytes` (whole slices of 8 MiB). */
export function measureMemory(bytes: number): MemoryCosts {
  const usPerMiB = (ms: number) => (1000 * ms * MIB) / bytes;
  const ifMoved = (ms: number | undefined) => (ms === undefined ? undefined : usPerMiB(ms));
  using small = new MemoryRegion(bytes, "small");
  const faultSmall = usPerMiB(timed(() => small.touch()));
  const [, ...moveSmall] = moveToAndFro(small, PAGE_BYTES);
  const [, ...moveAligned] = moveToAndFro(small, 0);
  using freed = new MemoryRegion(bytes, "small");
  freed.touch();
  const freeSmall = usPerMiB(timed(() => adviseMemory(freed.address, bytes, MADV_DONTNEED)));

  using huge = new MemoryRegion(bytes, "huge");
  const before = hugeBytes();
  const faultHuge = usPerMiB(timed(() => huge.touch()));
  // Without free blocks of 2 MiB, or where they are turned off, small pages come instead.
  const gotHuge = hugeBytes() - before >= bytes / 2;
  return {
    faultSmall,
    faultHuge: gotHuge ? faultHuge : undefined,
    moveSmall: ifMoved(moveSmall.length === 0 ? undefined : median(moveSmall)),
    moveAligned: ifMoved(moveAligned.length === 0 ? undefined : median(moveAligned)),
    moveHuge: ifMoved(gotHuge ? moveToAndFro(huge, PAGE_BYTES)[0] : undefined),
    freeSmall,
  };
}

/**
 * Reads `bytes` from whole slices of `file`, as requests of 1 MiB with 4 in flight, each to a place of its own.
 * Undefined where the kernel does not move pages. Throws as `probeDevice` does.
 */
export function measureReads(file: string, target: ReadTarget, bytes: number, seed: number): ReadCosts | undefined {
  const { requests } = planProbe(statSync(file).size, { pattern: "slices", totalBytes: bytes, depth: DEPTH, seed });
  const total = requests.reduce((sum, request) => sum + request.bytes, 0);
  using region = new MemoryRegion(total, target === "fresh" || target === "present" ? "small" : "huge");
  if (target === "fresh" || target === "fresh huge") return timeReads(file, requests, region.address);
  region.touch();
  if (target !== "moved") return timeReads(file, requests, region.address);
  using other = new MemoryRegion(total + PAGE_BYTES, "small");
  const address = other.address + PAGE_BYTES;
  return moveSlices(region.address, address, total) ? timeReads(file, requests, address) : undefined;
}

function timeReads(file: string, requests: readonly ProbeRequest[], address: number): ReadCosts {
  let failure: ReadFailure | undefined;
  const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  try {
    const done = (_tag: number, _bytes: number, error: ReadFailure | undefined) => {
      failure ??= error;
    };
    const engine = createAio([{ path: file, fd }], done, { depth: DEPTH });
    let submitMs = 0;
    let total = 0;
    const start = performance.now();
    const cpuStart = cpuMs();
    for (const { offset, bytes } of requests) {
      while (engine.free === 0) engine.reap(1);
      const before = cpuMs();
      engine.submit(0, offset, address + total, bytes, bytes, 0);
      submitMs += cpuMs() - before;
      total += bytes;
    }
    while (engine.inFlight > 0) engine.reap(1);
    const cpu = cpuMs() - cpuStart;
    const ms = performance.now() - start;
    engine.close();
    if (failure !== undefined) throw new ProbeFailedError(failure);
    return {
      bytesPerSecond: (1000 * total) / ms,
      submitCpuUsPerMiB: (1000 * submitMs * MIB) / total,
      cpuUsPerMiB: (1000 * cpu * MIB) / total,
    };
  } finally {
    closeSync(fd);
  }
}

/**
 * Moves a touched region to a place that lies `shift` bytes off within 2 MiB, back, and so on; CPU time of each way in
 * ms, nothing if the kernel refuses. From the second way on the target's page tables exist, as in a running engine.
 */
function moveToAndFro(region: MemoryRegion, shift: number): readonly number[] {
  const { address, bytes } = region;
  using other = new MemoryRegion(bytes + PAGE_BYTES, "small");
  const elsewhere = other.address + shift;
  let moved = true;
  const times = Array.from({ length: 2 * MOVES }, (_, i) =>
    timed(() => {
      moved &&= i % 2 === 0 ? moveSlices(address, elsewhere, bytes) : moveSlices(elsewhere, address, bytes);
    }),
  );
  if (!moved) return [];
  if (new Uint8Array(viewMemory(address + bytes - PAGE_BYTES, 1))[0] !== 1)
    throw new Error("Pages that were moved have lost what was in them");
  return times;
}

function timed(work: () => void): number {
  const start = cpuMs();
  work();
  return cpuMs() - start;
}

/** Huge pages of this process. */
function hugeBytes(): number {
  const line = /^AnonHugePages:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8"));
  return line === null ? 0 : Number(line[1]) * 1024;
}
