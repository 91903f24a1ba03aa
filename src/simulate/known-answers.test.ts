/** Recorded runs of real models: the engine's stream in virtual time takes the decisions that are known of them. */
import { describe, expect, test } from "vitest";
import type { Decision } from "../cache/expert-cache.ts";
import { replay as replayAtOnce } from "../cache/replay.test-data.ts";
import { tokenCycleBytes } from "../cache/shape.ts";
import { computeByBytes } from "./compute-model.ts";
import { plainDisk } from "./disk-model.ts";
import { futureOfTrace } from "./future-of-trace.ts";
import type { MachineModel } from "./machine-model.ts";
import { replayPolicy } from "./policies.ts";
import { passesFor, Replay, shapeOf } from "./replay.ts";
import { simulate } from "./sweep.ts";
import { DEMAND_ONLY, decodeStepsOf, realTrace } from "./traces.test-data.ts";

const MIB = 2 ** 20;
const percent = (rate: number) => Number((100 * rate).toFixed(1));

describe.each([
  { name: "qwen", mib: 4000, all: 74.9, decode: { mib: 3000, lru: 70.6, belady: 87.8 } },
  { name: "gemma", mib: 4000, all: 76.8, decode: { mib: 1500, lru: 51.1, belady: 74.9 } },
  { name: "gptoss", mib: 3000, all: 32.4, decode: { mib: 3000, lru: 44.8, belady: 67.8 } },
] as const)("$name", ({ name, mib, all, decode }) => {
  const { source, samples, route } = realTrace(name);
  const shape = shapeOf(source.description.model);
  const machine: MachineModel = {
    disk: plainDisk({ bytesPerSecond: 2e9 }),
    compute: computeByBytes({ shape, denseBytes: 1e9 }, 50),
    engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.03 },
  };
  const simulated = async (policies: readonly string[], cacheBytes: number) =>
    (await simulate(source, { policies, cacheBytes: [cacheBytes], machine, passes: { as: "recorded" } })).rows;

  test(`global LRU over ${mib} MiB hits ${all} %, as the engine that recorded it`, async () => {
    const [row] = await simulated(["lru"], mib * MIB);
    expect(percent(row.hitRate)).toBe(all);
    expect(row.hits + row.misses).toBe(
      route.iterations.flatMap((i) => i.stops).reduce((n, s) => n + s.distinct.length, 0),
    );
  });

  test("global LRU hits exactly never below a token cycle", async () => {
    const below = tokenCycleBytes(shape) - Math.max(...shape.expertBytes) * shape.expertsUsed;
    const steps = decodeStepsOf(source.description, samples[0]);
    const policies = ["lru", "next-use", "on-demand"];
    const [lru, nextUse, onDemand] = (await simulate(steps, { policies, cacheBytes: [below], machine })).rows;
    expect(lru.hits).toBe(0);
    expect(lru.bytesDemanded).toBe(onDemand.bytesDemanded);
    expect(nextUse.hits).toBeGreaterThan(0);
  });

  test(`decode hits at ${decode.mib} MiB: LRU and Belady`, async () => {
    const [lru, belady] = await simulated(["lru", "belady"], decode.mib * MIB);
    expect(percent(lru.decodeHitRate as number)).toBe(decode.lru);
    expect(percent(belady.decodeHitRate as number)).toBe(decode.belady);
  });

  test("an oracle waits least, and what is held for nothing is read most", async () => {
    const rows = await simulated([...DEMAND_ONLY, "oracle-prefetch"], decode.mib * MIB);
    const of = (policy: string) => rows.find((row) => row.policy === policy)!;
    for (const row of rows) {
      expect(row.predictedTokensPerSecond).toBeLessThanOrEqual(of("oracle-prefetch").predictedTokensPerSecond!);
      expect(row.predictedTokensPerSecond).toBeGreaterThanOrEqual(of("on-demand").predictedTokensPerSecond!);
      expect(row.misses).toBeLessThanOrEqual(of("on-demand").misses);
      if (row.policy !== "oracle-prefetch") expect(row.misses).toBeGreaterThanOrEqual(of("belady").misses);
    }
    expect(of("oracle-prefetch").coverage).toBeGreaterThan(0.4);
    expect(of("lru").coverage).toBe(0);
  });

  // The cache driven by itself with every read complete at once: time must not change what is decided on demand.
  test.each(DEMAND_ONLY)("%s decides in virtual time as it does without time", async (policyName) => {
    const cacheBytes = decode.mib * MIB;
    const policy = replayPolicy(policyName);
    const trace = source.description;
    const future = await futureOfTrace(source, passesFor(trace, cacheBytes, { as: "recorded" }));
    const log = (into: string[]) => (decision: Decision, key: number) => void into.push(`${decision} ${key}`);
    const timed: string[] = [];
    const replay = new Replay({
      ...{ trace, policy, cacheBytes, machine, future },
      passes: { as: "recorded" },
      onDecision: log(timed),
    });
    for (const sample of samples) replay.sample(sample);
    replay.figures();
    const timeless: string[] = [];
    replayAtOnce(shape, route.iterations, cacheBytes, policy.create(future), { onDecision: log(timeless) });
    expect(timed.length).toBeGreaterThan(5000);
    expect(timed).toEqual(timeless);
  });
});
