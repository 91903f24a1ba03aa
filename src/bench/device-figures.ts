/**
 * What the device gives at this moment, probed the way the engine reads (whole slices of the model, one request after
 * the other, many in flight) and, for comparison, with requests all over the file. A shared or virtual drive changes its
 * speed from minute to minute, so a run is judged by the probes right before and after it.
 */
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { type ProbeResult, planProbe, probeBest, probeDevice } from "./device-probe.ts";

export interface DeviceFigures {
  /** Like the engine: the fastest of the tried depths. */
  readonly slices: ProbeResult;
  /** Every request somewhere else, at the same depth. */
  readonly random: ProbeResult;
}

/** Requests in flight that are tried; the engine submits all missing experts of a layer at once. */
const DEPTHS = [4, 16, 64];
const SLICES_BYTES = 2 ** 28;
const RANDOM_BYTES = 2 ** 27;

export class DeviceProber {
  /** Why there are no figures, once a probe has failed. */
  problem: string | undefined;
  readonly #file: string;
  readonly #fileBytes: number;
  readonly #sliceBytes: number;
  /** Another place for each probe. */
  #seed = 1;

  /** @throws GgufError, UnsupportedModelError */
  constructor(modelPath: string) {
    const gguf = openGguf(modelPath);
    this.#file = modelPath;
    this.#fileBytes = gguf.shards[0].fileBytes;
    this.#sliceBytes = Math.max(
      ...readMoeLayout(gguf).moeLayers.flatMap(({ slices }) => slices.map(({ strideBytes }) => strideBytes)),
    );
  }

  /** Undefined where direct reads do not work; `problem` then says why. */
  probe(): DeviceFigures | undefined {
    try {
      const slices = probeBest(this.#file, DEPTHS, {
        pattern: "slices",
        sliceBytes: this.#sliceBytes,
        totalBytes: SLICES_BYTES,
        seed: this.#seed,
      });
      const { depth } = slices;
      const random = planProbe(this.#fileBytes, { depth, totalBytes: RANDOM_BYTES, seed: this.#seed });
      this.#seed += DEPTHS.length;
      return { slices, random: probeDevice(this.#file, random) };
    } catch (error) {
      this.problem = `The device's own speed is unknown: ${error instanceof Error ? error.message : String(error)}`;
      return undefined;
    }
  }
}
