import { expect, test } from "vitest";
import { policyByName } from "../../policy/by-name.ts";
import { replayPolicy } from "../../simulate/policies.ts";
import { ABLATION_NAMES, ablations } from "./ablations.ts";
import { DEFAULT_POLICIES, isCeiling, isPredictor } from "./policies.ts";

test("every setting of every ablation is one that its policy has", () => {
  expect(ablations([]).map(({ id }) => id)).toEqual(ABLATION_NAMES);
  const points = ablations(["lru", "finemoe", "warmset"]).flatMap((ablation) => ablation.points);
  expect(points.length).toBeGreaterThan(60);
  for (const { policy } of points) expect(() => replayPolicy(policy), policy).not.toThrow();
});

test("every policy of the comparison is there", () => {
  for (const policy of DEFAULT_POLICIES.filter((name) => !isCeiling(name) && !isPredictor(name)))
    expect(() => policyByName(policy), policy).not.toThrow();
});
