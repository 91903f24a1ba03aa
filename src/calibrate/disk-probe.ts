/**
 * A drive's speed by how many requests are in flight, and what a small request costs, measured as the engine reads: whole
 * slices, 1 MiB at a time, past the page cache.
 */
import { statSync } from "node:fs";
import { planProbe, probeDevice } from "../bench/device-probe.ts";
import { type DiskModel, REQUEST_BYTES, REQUESTS_IN_FLIGHT } from "../simulate/disk-model.ts";
import { trimmedMean } from "./fit.ts";

const DEPTHS = [1, 2, 4, 8, 16, 32, 64];
/** A shared drive changes its speed from second to second: each depth is measured this often, turn by turn. */
const ROUNDS = 3;
/** Of each measurement; enough that its start and its end do not count. */
const PROBE_MS = 150;
const LARGEST_PROBE_BYTES = 2 ** 28;
const SMALL_REQUEST_BYTES = 4096;
const SMALL_REQUESTS = 200;

/** `sliceBytes`: what lies side by side, one matrix of an expert. Throws what `probeDevice` throws. */
export function probeDisk(file: string, sliceBytes: number): DiskModel {
  const { size } = statSync(file);
  let seed = 1 + (Date.now() % 997);
  const measure = (depth: number, totalBytes: number) =>
    probeDevice(file, planProbe(size, { pattern: "slices", sliceBytes, depth, totalBytes, seed: seed++ }));
  const rough = measure(4, 2 ** 25).bytesPerSecond;
  const totalBytes = Math.min(LARGEST_PROBE_BYTES, Math.max(2 ** 24, (rough * PROBE_MS) / 1000));
  const byDepth = DEPTHS.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, depth] of DEPTHS.entries()) byDepth[i].push(measure(depth, totalBytes).bytesPerSecond);
  const small = planProbe(size, {
    ...{ requestBytes: SMALL_REQUEST_BYTES, depth: 1, totalBytes: SMALL_REQUESTS * SMALL_REQUEST_BYTES, seed },
  });
  return {
    speeds: DEPTHS.map((requests, i) => ({ requests, bytesPerSecond: trimmedMean(byDepth[i]) })),
    requestBytes: REQUEST_BYTES,
    latencyMs: probeDevice(file, small).ms / small.requests.length,
    requestsInFlight: REQUESTS_IN_FLIGHT,
  };
}
