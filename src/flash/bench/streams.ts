/** The streams of requests that the bench replays: workloads by name at the cache's scale, and new objects without end. */
import { GeneratedWorkload, type WorkloadSpec } from "../workload/generated-workload.ts";
import { GETS_ONLY } from "../workload/population.ts";
import { MAX_OBJECT_BYTES, presetWorkload, type WorkloadName } from "../workload/presets.ts";

/** Keys that come again, in bytes over those of the cache: in the middle of the published 2 to 3. */
const WORKING_SET = 2.5;

export interface StreamOptions {
  readonly cacheBytes: number;
  readonly seed: number;
  /** Exponent of popularity, of all populations. @default each its own */
  readonly alpha?: number;
  /** How popularity changes with time. @default it does not */
  readonly changes?: Pick<WorkloadSpec, "drift" | "churn" | "phaseOperations">;
}

export function namedStream(
  name: WorkloadName,
  { cacheBytes, seed, alpha, changes }: StreamOptions,
): GeneratedWorkload {
  const spec = presetWorkload(name, { workingSetBytes: WORKING_SET * cacheBytes, seed });
  const populations =
    alpha === undefined ? spec.populations : spec.populations.map((population) => ({ ...population, alpha }));
  return new GeneratedWorkload({ ...spec, ...changes, populations });
}

/** Sigma of the sizes at which fill rates are known, and nearest to the published ladder. */
export const NEW_OBJECTS_SIGMA = 0.9;

/** Sets of keys that come once, of mean 246 bytes: what fill rates are known for. */
export function newObjects(seed: number): GeneratedWorkload {
  const spec: WorkloadSpec = {
    name: "new objects",
    seed,
    populations: [
      {
        name: "new objects",
        keys: 1,
        alpha: 1,
        // Nearly all: a share of 1 has no keys left that come again.
        freshShare: 1 - 1e-9,
        weight: 1,
        operations: { ...GETS_ONLY, get: 0, set: 1 },
        sizes: {
          key: { kind: "fixed", bytes: 16 },
          measured: "object",
          bytes: { kind: "log-normal", mean: 246, sigma: NEW_OBJECTS_SIGMA, min: 20, max: MAX_OBJECT_BYTES },
        },
      },
    ],
  };
  return new GeneratedWorkload(spec);
}
