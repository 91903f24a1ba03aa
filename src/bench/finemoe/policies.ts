/**
 * The policies of the comparison by what they are: floors and ceilings that stand in every table, the published systems, ours.
 * A policy that this build does not have, or that cannot run here, is told with its reason and never left out in silence.
 */

import type { Policy } from "../../cache/policy.ts";
import { type PolicyResources, policyByName } from "../../policy/by-name.ts";
import { checkReplayable, type ReplayPolicy, type ReplaySignals, replayPolicy } from "../../simulate/policies.ts";
import type { RequestNeeds } from "./request-trace.ts";

/** Routed experts only, nothing kept: what every row is read against. */
export const FLOOR = "on-demand";
/** What ratios of bytes and times are over. */
export const BASELINE = "lru";
/** Know the run to come: what no policy can have. */
export const CEILINGS: readonly string[] = ["belady", "oracle-prefetch"];
export const REFERENCES: readonly string[] = [FLOOR, BASELINE, "lfu", ...CEILINGS];
/** The paper's own setting. */
export const PAPER = "finemoe";
export const OURS = "warmset";

export const DEFAULT_POLICIES: readonly string[] = [
  ...REFERENCES,
  "lfu-decayed",
  "least-stale",
  "slru",
  "next-use",
  "next-use+next-gate",
  "deepspeed",
  "layer-stream",
  "mixtral-offload",
  "moe-infinity",
  "moe-infinity-shipped",
  "promoe",
  PAPER,
  "finemoe-plus",
  OURS,
];

/** References first, each name once. */
export function comparedPolicies(names: readonly string[]): readonly string[] {
  return [...new Set([...REFERENCES, ...names])];
}

/** A policy that stays out, and why. */
export interface SkippedPolicy {
  readonly policy: string;
  readonly source: "simulated" | "measured";
  readonly reason: string;
}

/** Undefined when a replay can run it; else why not. */
export function replayProblem(name: string, there: ReplaySignals, resources: PolicyResources): string | undefined {
  return problemOf(() =>
    checkReplayable(
      replayPolicyWith(name, resources, () => {}),
      there,
    ),
  );
}

/** What any of the policies that this build has needs. */
export function needsOf(names: readonly string[]): RequestNeeds {
  const known = names.filter((name) => problemOf(() => replayPolicy(name)) === undefined).map(replayPolicy);
  const any = (need: keyof RequestNeeds) => known.some(({ needs }) => needs[need]);
  // It does not open without a predictor, which is trained on routers' inputs.
  const learned = names.some(isPredictor);
  return { hidden: any("hidden") || learned, embeddings: any("embeddings"), nextGate: any("nextGate") };
}

/** It is made from a predictor that was trained for the model. */
export function isPredictor(name: string): boolean {
  return /^promoe(:|\+|$)/.test(name);
}

export function isCeiling(name: string): boolean {
  return CEILINGS.includes(name);
}

export function problemOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The policy with what it has learned, and `onMade` for whoever wants the object itself. */
export function replayPolicyWith(
  name: string,
  resources: PolicyResources,
  onMade: (policy: Policy) => void,
): ReplayPolicy {
  const known: ReplayPolicy = isPredictor(name)
    ? {
        ...{ name, knowsFuture: false, needs: policyByName(name, resources).needs },
        create: (_, more) => policyByName(name, { ...more, simulated: true }),
      }
    : replayPolicy(name);
  return {
    ...known,
    create(future) {
      const made = known.create(future, resources);
      onMade(made);
      return made;
    },
  };
}
