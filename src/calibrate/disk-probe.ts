/**
 * How long a drive takes over bursts of reads, what a small one costs, and how it tells of its work: measured as the
 * engine reads, 1 MiB at a time, side by side, past the page cache.
 */
import { closeSync, constants, openSync, statSync } from "node:fs";
import { planProbe, probeDevice } from "../bench/device-probe.ts";
import { MemoryRegion } from "../bench/memory-region.ts";
import { createAio } from "../memory/aio.ts";
import { type DiskBurst, type DiskModel, REQUEST_BYTES } from "../simulate/disk-model.ts";
import { middle } from "./fit.ts";

/** A layer hands over all requests of its missing experts at once: one expert of 1 MiB, or four of 27. */
const BURSTS = [1, 2, 4, 8, 16, 32, 64, 128];
/** A shared drive changes its speed from second to second: each burst is measured this often, turn by turn. */
const ROUNDS = 7;
const SMALL_REQUEST_BYTES = 4096;
const SMALL_REQUESTS = 200;
/** What the engine hands over at once at most, or nearly. */
const REPORT_BURST = 128;
const REPORT_ROUNDS = 5;
/** Fewer at a time may be how interrupts are collected, or that we did not come to look. */
const SMALLEST_REPORT = 8;

/** `sliceBytes`: what lies side by side, one matrix of an expert. Throws what `probeDevice` throws. */
export function probeDisk(file: string, sliceBytes: number): DiskModel {
  const { size } = statSync(file);
  const largest = Math.floor(size / REQUEST_BYTES / 2);
  let seed = 1 + (Date.now() % 997);
  const burst = (requests: number) => {
    const side = Math.max(1, Math.min(requests, Math.floor(sliceBytes / REQUEST_BYTES)));
    const totalBytes = requests * REQUEST_BYTES;
    const plan = { pattern: "slices", sliceBytes: side * REQUEST_BYTES, depth: requests, totalBytes } as const;
    // Whole slices only, so that it may be a few requests less.
    const { bytes, ms } = probeDevice(file, planProbe(size, { ...plan, seed: seed++ }));
    return (ms * totalBytes) / bytes;
  };
  const sizes = BURSTS.filter((requests) => requests === 1 || requests <= largest);
  const times = sizes.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, requests] of sizes.entries()) times[i].push(burst(requests));
  const small = planProbe(size, {
    ...{ requestBytes: SMALL_REQUEST_BYTES, depth: 1, totalBytes: SMALL_REQUESTS * SMALL_REQUEST_BYTES, seed },
  });
  return {
    bursts: ascending(sizes.map((requests, i) => ({ requests, ms: middle(times[i]) }))),
    requestBytes: REQUEST_BYTES,
    latencyMs: probeDevice(file, small).ms / small.requests.length,
    reportsEvery: reportsEvery(file, size),
  };
}

/** More requests never take less time; what was measured so is noise, and counts as no difference. */
function ascending(bursts: readonly DiskBurst[]): DiskBurst[] {
  let longest = 0;
  return bursts.map(({ requests, ms }) => {
    longest = Math.max(longest, ms);
    return { requests, ms: longest };
  });
}

/** How many finished requests are told of together; 1 when each is told of, more or less, as it is finished. */
function reportsEvery(file: string, fileBytes: number): number {
  const requests = Math.min(REPORT_BURST, Math.floor(fileBytes / REQUEST_BYTES));
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  try {
    using buffers = new MemoryRegion(requests * REQUEST_BYTES, "huge");
    buffers.touch();
    const engine = createAio([{ path: file, fd: descriptor }], () => {}, { depth: requests });
    const most: number[] = [];
    for (let round = 0; round < REPORT_ROUNDS; round++) {
      const start = performance.now();
      for (let i = 0; i < requests; i++) {
        const offset = i * REQUEST_BYTES;
        engine.submit(0, offset, buffers.address + offset, REQUEST_BYTES, REQUEST_BYTES, i);
      }
      // Looked at all the time, so that what is told of one after the other is seen one after the other.
      const landed: number[] = [];
      while (engine.inFlight > 0)
        for (let count = engine.reap(0), now = performance.now(); count > 0; count--) landed.push(now - start);
      most.push(largestCluster(landed));
    }
    engine.close();
    const usual = middle(most);
    return usual < SMALLEST_REPORT ? 1 : Math.round(usual);
  } finally {
    closeSync(descriptor);
  }
}

/** The most requests that landed without a pause of half the time that a request takes on average. */
function largestCluster(landed: readonly number[]): number {
  const pause = landed[landed.length - 1] / landed.length / 2;
  let largest = 0;
  let size = 0;
  for (const [i, ms] of landed.entries()) {
    size = i > 0 && ms - landed[i - 1] < pause ? size + 1 : 1;
    largest = Math.max(largest, size);
  }
  return largest;
}
