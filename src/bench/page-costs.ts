/**
 * What the kernel takes for the pages of expert memory: faulting them in, moving them, giving them back, and reading
 * into them with the engine's own read engine. One thread, nothing else running, CPU time of that thread; medians are
 * the caller's business.
 */
import { closeSync, constants, openSync, readFileSync, statSync } from "node:fs";
import { createAio } from "../memory/aio.ts";
import {
  adviseMemory,
  MADV_DONTNEED,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  movePages,
  PAGE_BYTES,
  releaseMemory,
  reserveMemory,
  tryAdviseMemory,
  viewMemory,
} from "../memory/libc.ts";
import { ceilTo } from "../memory/page-plan.ts";
import type { ReadFailure } from "../memory/read-engine.ts";
import { ProbeFailedError, planProbe } from "./device-probe.ts";
import { threadCpuClock } from "./thread-cpu-time.ts";

const MIB = 2 ** 20;
const HUGE_PAGE_BYTES = 2 * MIB;
/** Pages move by the slice, as in the engine. */
const SLICE_BYTES = 8 * MIB;
const DEPTH = 4;

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

export type ReadTarget = "fresh" | "fresh huge" | "present";

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
  using small = new Region(bytes, MADV_NOHUGEPAGE);
  const faultSmall = usPerMiB(small.touch());
  const [, moveSmall] = moveThereAndBack(small, PAGE_BYTES);
  const [, moveAligned] = moveThereAndBack(small, 0);
  using freed = new Region(bytes, MADV_NOHUGEPAGE);
  freed.touch();
  const freeSmall = usPerMiB(timed(() => adviseMemory(freed.address, bytes, MADV_DONTNEED)));

  using huge = new Region(bytes, MADV_HUGEPAGE);
  const before = hugeBytes();
  const faultHuge = usPerMiB(huge.touch());
  // Without free blocks of 2 MiB, or where they are turned off, small pages come instead.
  const gotHuge = hugeBytes() - before >= bytes / 2;
  const [moveHuge] = gotHuge ? moveThereAndBack(huge, PAGE_BYTES) : [];
  return {
    faultSmall,
    faultHuge: gotHuge ? faultHuge : undefined,
    moveSmall: ifMoved(moveSmall),
    moveAligned: ifMoved(moveAligned),
    moveHuge: ifMoved(moveHuge),
    freeSmall,
  };
}

/**
 * Reads `bytes` from whole slices of `file`, as requests of 1 MiB with 4 in flight, each to a place of its own.
 * Throws as `probeDevice` does.
 */
export function measureReads(file: string, target: ReadTarget, bytes: number, seed: number): ReadCosts {
  const { requests } = planProbe(statSync(file).size, { pattern: "slices", totalBytes: bytes, depth: DEPTH, seed });
  const total = requests.reduce((sum, request) => sum + request.bytes, 0);
  using region = new Region(total, target === "fresh huge" ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  if (target === "present") region.touch();
  let failure: ReadFailure | undefined;
  const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  try {
    const done = (_tag: number, _bytes: number, error: ReadFailure | undefined) => {
      failure ??= error;
    };
    const engine = createAio([{ path: file, fd }], done, { depth: DEPTH });
    let submitMs = 0;
    let at = region.address;
    const start = performance.now();
    const cpuStart = cpuMs();
    for (const request of requests) {
      while (engine.free === 0) engine.reap(1);
      const before = cpuMs();
      engine.submit(0, request.offset, at, request.bytes, request.bytes, 0);
      submitMs += cpuMs() - before;
      at += request.bytes;
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

/** Reserved memory that begins where a huge page may. */
class Region implements Disposable {
  readonly address: number;
  readonly bytes: number;
  readonly #reserved: number;

  constructor(bytes: number, advice: number) {
    this.bytes = bytes;
    this.#reserved = reserveMemory(bytes + HUGE_PAGE_BYTES);
    this.address = ceilTo(this.#reserved, HUGE_PAGE_BYTES);
    // Kernels without transparent huge pages know neither advice.
    tryAdviseMemory(this.address, bytes, advice);
  }

  /** Writes a byte to every page; returns the CPU time, ms. */
  touch(): number {
    const view = new Uint8Array(viewMemory(this.address, this.bytes));
    return timed(() => {
      for (let at = 0; at < view.length; at += PAGE_BYTES) view[at] = 1;
    });
  }

  [Symbol.dispose](): void {
    releaseMemory(this.#reserved, this.bytes + HUGE_PAGE_BYTES);
  }
}

/**
 * Moves a touched region slice by slice to a place that lies `shift` bytes off within 2 MiB, and back; CPU time of either
 * way in ms, nothing if the kernel refuses. On the way back the target's page tables exist, as they do in a running engine.
 */
function moveThereAndBack(region: Region, shift: number): readonly number[] {
  const { address, bytes } = region;
  using other = new Region(bytes + SLICE_BYTES, MADV_NOHUGEPAGE);
  const elsewhere = other.address + shift;
  let moved = true;
  const moveAll = (from: number, to: number) =>
    timed(() => {
      for (let at = 0; at < bytes; at += SLICE_BYTES)
        moved &&= movePages(from + at, to + at, Math.min(SLICE_BYTES, bytes - at));
    });
  const times = [moveAll(address, elsewhere), moveAll(elsewhere, address)];
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
