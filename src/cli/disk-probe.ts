/**
 * A probe of the drive that is short enough for `plan` and `doctor`: reads of the engine's kind from the model's own
 * file, past the page cache, a few hundred milliseconds in all. The bench's probe is the accurate one.
 */
import { statSync } from "node:fs";
import { type ProbeResult, planProbe, probeDevice } from "../bench/device-probe.ts";

export type QuickProbe =
  | { readonly status: "measured"; readonly result: ProbeResult }
  /** One sentence that says why there is no figure. */
  | { readonly status: "impossible"; readonly reason: string };

/** 0.1 s at 1.3 GB/s; a hard disk takes a second. */
const PROBE_BYTES = 128 * 2 ** 20;
const REQUEST_BYTES = 2 ** 20;
const DEPTH = 16;

export function quickProbe(file: string): QuickProbe {
  const { size } = statSync(file);
  if (size < REQUEST_BYTES) return { status: "impossible", reason: "the file is smaller than one read of 1 MiB" };
  try {
    const options = { requestBytes: REQUEST_BYTES, depth: DEPTH, totalBytes: PROBE_BYTES };
    // Another place each time, so that a drive's own cache does not answer.
    return { status: "measured", result: probeDevice(file, planProbe(size, { ...options, seed: Date.now() % 9973 })) };
  } catch (error) {
    return { status: "impossible", reason: error instanceof Error ? error.message : String(error) };
  }
}
