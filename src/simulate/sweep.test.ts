import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { memoryTrace } from "../trace/memory-trace.ts";
import { computeByBytes } from "./compute-model.ts";
import { plainDisk } from "./disk-model.ts";
import { CacheTooSmallError, PolicyNotReplayableError } from "./errors.ts";
import type { MachineModel } from "./machine-model.ts";
import { shapeOf } from "./replay.ts";
import { type SimulateOptions, simulate } from "./sweep.ts";
import { describedTrace, realTrace, sampleOf } from "./traces.test-data.ts";

const MIB = 2 ** 20;
const { source, samples } = realTrace("gemma");
const shape = shapeOf(source.description.model);
const machine: MachineModel = {
  disk: plainDisk({ bytesPerSecond: 2e9 }),
  compute: computeByBytes({ shape, denseBytes: 1e9 }, 50),
  engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.03 },
};
const options: SimulateOptions = {
  policies: ["lru", "next-use", "belady", "oracle-prefetch", "on-demand"],
  cacheBytes: [1000 * MIB, 3000 * MIB],
  machine,
  passes: { as: "recorded" },
};
/** The same sample several times, so that there is more than workers have lying before them. */
const SAMPLES = 6;
const repeated = memoryTrace(
  source.description,
  Array.from({ length: SAMPLES }, (_, sample) => ({ ...samples[0], sample })),
  { samplesPerPart: 5 },
);

test.each(["warm", "cold"] as const)("one thread and two make the same rows, in the same order (%s)", async (start) => {
  const alone = await simulate(repeated, { ...options, start, workers: 1 });
  const shared = await simulate(repeated, { ...options, start, workers: 2 });
  expect(shared).toEqual(alone);
  const wanted = options.cacheBytes.flatMap((cacheBytes) => options.policies.map((policy) => ({ policy, cacheBytes })));
  expect(alone.rows.map(({ policy, cacheBytes }) => ({ policy, cacheBytes }))).toEqual(wanted);
  expect(alone).toMatchObject({ samples: SAMPLES, tokens: SAMPLES * samples[0].length });
});

test("a replay among others is the same as alone", async () => {
  const together = await simulate(repeated, options);
  const [alone] = (await simulate(repeated, { ...options, policies: ["next-use"], cacheBytes: [3000 * MIB] })).rows;
  expect(together.rows.find((row) => row.policy === "next-use" && row.cacheBytes === 3000 * MIB)).toEqual(alone);
});

test("cold samples are as if each were simulated alone", async () => {
  const one = await simulate(source, { ...options, start: "cold" });
  const many = await simulate(repeated, { ...options, start: "cold" });
  for (const [i, row] of many.rows.entries()) {
    expect(row.misses).toBe(SAMPLES * one.rows[i].misses);
    expect(row.predictedTokensPerSecond).toBeCloseTo(one.rows[i].predictedTokensPerSecond!, 6);
  }
});

test.each([1, 2])("an abort ends it with the signal's reason, on %d threads", async (workers) => {
  const controller = new AbortController();
  const reason = new Error("enough");
  let told = 0;
  const running = simulate(repeated, {
    ...{ ...options, workers, signal: controller.signal },
    onProgress: () => {
      if (++told === 2) controller.abort(reason);
    },
  });
  await expect(running).rejects.toBe(reason);
  expect(told).toBe(2);
});

test("timers run while it works on this thread", async () => {
  let ticks = 0;
  const running = simulate(repeated, { ...options, workers: 1 }).finally(() => (ticks += 1000));
  while (ticks < 3) {
    await sleep(1);
    ticks++;
  }
  await running;
  expect(ticks).toBe(1003);
});

test("a failure in a worker arrives with its name", async () => {
  // Two tokens of a batch with different numbers of experts.
  const uneven = [sampleOf([[[0, 1]], [[2, 0xffff]]], { batches: Uint32Array.from([0, 0]) })];
  const trace = describedTrace({ experts: 4, expertsUsed: 2, expertBytes: [MIB] }, uneven);
  const small = {
    ...options,
    machine: { ...machine, compute: computeByBytes({ shape: shapeOf(trace.model), denseBytes: 0 }, 1) },
  };
  for (const workers of [1, 2])
    await expect(
      simulate(memoryTrace(trace, uneven), { ...small, policies: ["lru", "lfu"], cacheBytes: [4 * MIB], workers }),
    ).rejects.toMatchObject({ name: "UnevenChoiceError", message: expect.stringMatching(/position 1, layer 0/) });
});

test("what cannot be simulated is refused before the trace is read", async () => {
  const unread = { ...source, samples: () => expect.unreachable("the trace was read") };
  const refused = (more: Partial<SimulateOptions>) => simulate(unread, { ...options, policies: ["lru"], ...more });
  await expect(refused({ policies: ["next-use+next-gate"] })).rejects.toThrow(PolicyNotReplayableError);
  await expect(refused({ policies: ["next-use+next-gate"] })).rejects.toThrow(/next-use.*oracle-prefetch/);
  await expect(refused({ policies: ["mru"] })).rejects.toThrow(/unknown policy "mru".*belady/);
  await expect(refused({ cacheBytes: [3000 * MIB, MIB] })).rejects.toThrow(CacheTooSmallError);
  const otherModel = computeByBytes({ shape: { ...shape, layers: 2, expertBytes: [1, 1] }, denseBytes: 0 }, 1);
  await expect(refused({ machine: { ...machine, compute: otherModel } })).rejects.toThrow(/2 layers, the trace 30/);
});

test("what a trace does not tell is noted", async () => {
  const { notes } = await simulate(source, { ...options, policies: ["lru", "next-use"] });
  expect(notes).toEqual([expect.stringMatching(/^next-use: the trace has no router probabilities/)]);
  expect((await simulate(source, { ...options, policies: ["lru", "belady"] })).notes).toEqual([]);
});

test("a policy that copes without the next router's scores runs on a trace that does not give them", async () => {
  const { rows } = await simulate(source, { ...options, policies: ["warmset", "warmset:gate=off"] });
  const [asking, deaf] = rows.map(({ policy: _, policyFigures, ...rest }) => ({ rest, policyFigures }));
  expect(asking.rest).toEqual(deaf.rest);
  expect(asking.policyFigures?.layersWithoutNextGate).toBeGreaterThan(0);
});
