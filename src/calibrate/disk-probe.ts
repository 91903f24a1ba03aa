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
const REPORT_BURST = 48;
const REPORT_ROUNDS = 5;
/** Fewer at a time may be how often we came to look. */
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

/** How many finished requests arrive at once at most, looked at all the time; 1 when that is a few. */
function reportsEvery(file: string, fileBytes: number): number {
  const requests = Math.min(REPORT_BURST, Math.floor(fileBytes / REQUEST_BYTES));
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  try {
    using buffers = new MemoryRegion(requests * REQUEST_BYTES, "huge");
    buffers.touch();
    const engine = createAio([{ path: file, fd: descriptor }], () => {}, { depth: requests });
    const most: number[] = [];
    for (let round = 0; round < REPORT_ROUNDS; round++) {
      for (let i = 0; i < requests; i++) {
        const offset = i * REQUEST_BYTES;
        engine.submit(0, offset, buffers.address + offset, REQUEST_BYTES, REQUEST_BYTES, i);
      }
      let atOnce = 0;
      // What landed while the requests were handed over came before anybody looked.
      engine.reap(0);
      while (engine.inFlight > 0) atOnce = Math.max(atOnce, engine.reap(0));
      most.push(atOnce);
    }
    engine.close();
    const usual = middle(most);
    if (usual < SMALLEST_REPORT) return 1;
    // It told of all of them at the end: more of them might be told of together, too.
    return usual === requests ? ASSUMED_LARGEST_REPORT : usual;
  } finally {
    closeSync(descriptor);
  }
}

/** Firecracker's queue has 256 descriptors, and a request takes three or four. */
const ASSUMED_LARGEST_REPORT = 64;
