import { describe, expect, test } from "vitest";
import { TINY_MODELS } from "../tiny-models/index.ts";
import {
  ADDITIONS,
  allRuns,
  BUDGETS,
  type IdentityRun,
  POLICIES,
  runName,
  runsOfModels,
  STORAGES,
} from "./run-plan.ts";

const VALUES: { readonly [K in keyof IdentityRun]: readonly IdentityRun[K][] } = {
  budget: BUDGETS,
  policy: POLICIES,
  addition: ADDITIONS,
  file: ["single", "split"],
  storage: STORAGES,
  recyclePages: [true, false],
};
const DIMENSIONS = Object.keys(VALUES) as (keyof IdentityRun)[];

function missingPairs(runs: readonly IdentityRun[]): string[] {
  return DIMENSIONS.flatMap((a, i) =>
    DIMENSIONS.slice(i + 1).flatMap((b) =>
      VALUES[a].flatMap((x) =>
        VALUES[b]
          .filter((y) => !runs.some((run) => run[a] === x && run[b] === y))
          .map((y) => `${a} ${x} with ${b} ${y}`),
      ),
    ),
  );
}

describe("the runs of the identity gate", () => {
  test("cover every pair of values over all architectures", () => {
    expect(missingPairs(runsOfModels(TINY_MODELS.length).flat())).toEqual([]);
  });

  test("give every architecture every budget", () => {
    for (const runs of runsOfModels(TINY_MODELS.length)) expect(runs.map(({ budget }) => budget)).toEqual(BUDGETS);
  });

  test("give the demo model every pair of values", () => {
    const runs = allRuns();
    expect(missingPairs(runs)).toEqual([]);
    expect(new Set(runs.map(runName)).size).toBe(runs.length);
  });
});
