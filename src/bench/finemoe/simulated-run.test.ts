import { describe, expect, test } from "vitest";
import { hitRate } from "../../cache/statistics.ts";
import { simulate } from "../../simulate/sweep.ts";
import { memoryTrace } from "../../trace/memory-trace.ts";
import { ALL_BYTES, EXPERT_BYTES, LAYERS, smallMachine, smallTrace, USED } from "./bench-rows.test-data.ts";
import { decodeCounters, tpotMs } from "./figures.ts";
import { rowOf } from "./row.ts";
import { simulateRun, teach } from "./simulated-run.ts";

const trace = smallTrace();
const machine = smallMachine(trace);
const ground = { trace, predictor: undefined };
const requests = trace.samples.map(({ sample }) => sample);
const run = (policy: string, more: object = {}) =>
  simulateRun(ground, { policy, mode: "online", cacheBytes: ALL_BYTES / 3, machine, requests, ...more });

describe("figures of requests", () => {
  test.each(["on-demand", "lru", "next-use", "belady", "oracle-prefetch"])(
    "of %s add up to those of a replay",
    async (policy) => {
      const figures = await run(policy);
      const { rows } = await simulate(memoryTrace(trace.description, trace.samples), {
        ...{ policies: [policy], cacheBytes: [ALL_BYTES / 3], machine, passes: { as: "recorded" } },
      });
      const [row] = rows;
      const decode = decodeCounters(figures.requests);
      expect(hitRate(decode)).toBeCloseTo(row.decodeHitRate ?? -1, 12);
      const tokens = figures.requests.reduce((sum, request) => sum + request.decodeTokens, 0);
      const ms = figures.requests.reduce((sum, request) => sum + request.stepMs.reduce((s, step) => s + step, 0), 0);
      expect(tokens).toBe(row.decodeTokens);
      expect((1000 * tokens) / ms).toBeCloseTo(row.predictedTokensPerSecond ?? -1, 6);
      expect((decode.bytesDemanded + decode.bytesPrefetched) / tokens).toBeCloseTo(row.bytesPerToken ?? -1, 6);
    },
  );

  test("come in the order in which the requests were asked for", async () => {
    const reversed = [...requests].reverse();
    const figures = await run("lru", { requests: reversed });
    expect(figures.requests.map(({ request }) => request)).toEqual(reversed);
  });
});

test("a row's shares of look-ups are whole, and the floor reads every routed expert", async () => {
  const [floor, lru, ahead] = await Promise.all(["on-demand", "lru", "oracle-prefetch"].map((policy) => run(policy)));
  const references = { expertBytesTotal: ALL_BYTES, floor, lru };
  const rows = [floor, lru, ahead].map((figures) => rowOf(figures, references));
  for (const row of rows) {
    expect(row.hitRate + row.lateHitRate + row.missRate).toBeCloseTo(1, 12);
    expect(row.floor.bytesPerToken).toBe(LAYERS * USED * EXPERT_BYTES);
    expect(row.cacheShare).toBeCloseTo(1 / 3, 6);
    expect(row.byRequest.tpotMs).toHaveLength(requests.length);
  }
  expect(rows[0].bytesPerToken.demanded).toBe(LAYERS * USED * EXPERT_BYTES);
  expect(rows[1]).toMatchObject({ bytesOverLru: 1, timeOverLru: { value: 1, low: 1, high: 1 }, goodPred: 0 });
  expect(rows[2].readAheadCoverage).toBeGreaterThan(rows[2].goodPred);
  expect(rows[2].timeOverLru?.high).toBeLessThan(1);
  expect(rows[1].tpotMs.value).toBeGreaterThan(0);
});

test("several requests decoded together give each a token a step, for less than as many steps", async () => {
  const [alone, together] = await Promise.all([run("lru"), run("lru", { batch: 4 })]);
  const tokens = (figures: typeof alone) => figures.requests.reduce((sum, request) => sum + request.decodeTokens, 0);
  expect(tokens(together)).toBe(tokens(alone));
  const steps = together.requests.reduce((sum, { stepMs }) => sum + stepMs.length, 0);
  expect(steps).toBeLessThan(tokens(alone) / 3);
  const meanStep = (figures: typeof alone) =>
    figures.requests.reduce((sum, request) => sum + tpotMs(request), 0) / figures.requests.length;
  expect(meanStep(together)).toBeGreaterThan(meanStep(alone));
});

test("what is taught is given back, and the offline run begins with it", async () => {
  const half = requests.slice(0, 12);
  const { learned } = await teach(ground, {
    policy: "moe-infinity",
    cacheBytes: ALL_BYTES / 3,
    machine,
    requests: half,
  });
  expect(learned?.length).toBeGreaterThan(0);
  const rest = { requests: requests.slice(12) };
  const online = await run("moe-infinity", rest);
  const offline = await run("moe-infinity", { ...rest, mode: "offline", learned });
  expect(online.learns && offline.learns).toBe(true);
  expect(offline.requests).not.toEqual(online.requests);
  expect(await teach(ground, { policy: "lru", cacheBytes: ALL_BYTES / 3, machine, requests: half })).toEqual({
    learned: undefined,
  });
});
