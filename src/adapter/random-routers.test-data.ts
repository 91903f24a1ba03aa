/** Random changes of a model's gates, of the size that tuning makes them, and copies of models to patch. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { BaseModel } from "./base-model.ts";
import type { RouterArtifact } from "./router-artifact.ts";

export const DEMO_MODEL = fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url));

/** Tuned gates move by some percent of their size. */
const RELATIVE_CHANGE = 0.1;

export function randomRouters(base: BaseModel, options: { seed?: number; bias?: boolean } = {}): RouterArtifact {
  const { seed = 1, bias: withBias = false } = options;
  const random = uniform(seed);
  const { architecture, experts, used, width } = base;
  const layers = base.gates.map(({ block, weights, bias, sha256 }) => {
    const size = RELATIVE_CHANGE * rms(weights);
    return {
      block,
      gate: weights.map((value) => value + size * random()),
      bias: withBias ? bias?.map((value) => value + 0.1 * random()) : bias,
      baseSha256: sha256,
    };
  });
  return {
    delta: { architecture, experts, used, width, method: "random", layers },
    report: { eor: 0.345, note: "made for a test" },
  };
}

export function fileHash(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

/** Of variance 1, from a small linear congruential generator. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * Math.sqrt(12);
  };
}

function rms(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
