import { expect, test } from "vitest";
import { smallMachine, smallTrace } from "./bench-rows.test-data.ts";
import { comparedPolicies } from "./policies.ts";
import { SimulatedSuite, TooFewRequestsError } from "./simulated-suite.ts";

const trace = smallTrace(60, 5);
const machine = smallMachine(trace);

test("every policy has a row in every cell, and who cannot run is told with the reason", async () => {
  const policies = ["lru", "moe-infinity", "next-use+next-gate", "no-such-policy"];
  const cacheShares = [0.25, 0.5];
  await using suite = new SimulatedSuite({ trace, machine, policies, cacheShares, workers: 1 });
  const rows = await suite.rows();
  const run = comparedPolicies(["lru", "moe-infinity"]);
  expect(rows).toHaveLength(run.length * cacheShares.length * 2);
  for (const policy of run)
    for (const mode of ["offline", "online"])
      for (const share of cacheShares)
        expect(
          rows.filter((row) => row.policy === policy && row.mode === mode && row.cacheShare === share),
        ).toHaveLength(1);
  expect(suite.skipped.map(({ policy }) => policy).sort()).toEqual(["next-use+next-gate", "no-such-policy"]);
  expect(suite.skipped.every(({ reason }) => reason.length > 20)).toBe(true);
  const numbers = (samples: typeof suite.test) => samples.map(({ sample }) => sample);
  expect(numbers(suite.train).filter((sample) => numbers(suite.test).includes(sample))).toEqual([]);
});

test("a policy that fails in one cell is told, and the others go on", async () => {
  // 0.25 of three layers of eight is less than a layer of eight.
  await using suite = new SimulatedSuite({
    ...{ trace, machine, policies: ["deepspeed"], cacheShares: [0.25, 0.5], workers: 1, requests: 4 },
  });
  const rows = await suite.rows();
  expect(rows.filter(({ policy }) => policy === "deepspeed").map(({ cacheShare }) => cacheShare)).toEqual([0.5, 0.5]);
  expect(suite.skipped).toMatchObject([{ policy: "deepspeed", source: "simulated" }]);
  expect(suite.skipped[0].reason).toMatch(/^25 %: .*whole layers/);
});

test("an abort ends it with the signal's reason", async () => {
  const stop = new AbortController();
  await using suite = new SimulatedSuite({
    ...{ trace, machine, policies: ["lru"], cacheShares: [0.25], workers: 1, signal: stop.signal },
    onProgress: () => stop.abort(new Error("enough")),
  });
  await expect(suite.rows()).rejects.toThrow("enough");
});

test("a trace without prompts enough for both sides is refused before anything runs", () => {
  const one = smallTrace(1, 5);
  const options = { machine: smallMachine(one), policies: ["lru"], cacheShares: [0.5], workers: 1 };
  expect(() => new SimulatedSuite({ trace: one, ...options })).toThrow(TooFewRequestsError);
});
