/** What holds of every replay, whatever the trace, the machine and the policy. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryTrace } from "../trace/memory-trace.ts";
import { computeByBytes, computeMsOf } from "./compute-model.ts";
import { plainDisk } from "./disk-model.ts";
import { CacheTooSmallError } from "./errors.ts";
import type { MachineModel } from "./machine-model.ts";
import { replayPolicy } from "./policies.ts";
import { type PhaseFigures, Replay, type ReplayedPass, type ReplayOptions, shapeOf } from "./replay.ts";
import type { SimulationRow } from "./simulation-row.ts";
import { simulate } from "./sweep.ts";
import { DEMAND_ONLY, describedTrace, type GeneratedTrace, generatedTraces, sampleOf } from "./traces.test-data.ts";

const policies = fc.constantFrom(...DEMAND_ONLY, "oracle-prefetch");
const starts = fc.constantFrom("warm" as const, "cold" as const);
const speeds = fc.double({ min: 1e8, max: 2e10, noNaN: true });

function machineOf({ source }: GeneratedTrace, bytesPerSecond: number): MachineModel {
  return {
    disk: plainDisk({ bytesPerSecond, latencyMs: bytesPerSecond === Number.POSITIVE_INFINITY ? 0 : 0.3 }),
    compute: computeByBytes({ shape: shapeOf(source.description.model), denseBytes: 5e6 }, 10),
    engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.02 },
  };
}

async function run(trace: GeneratedTrace, policy: string, machine: MachineModel, more: object = {}) {
  const passes = { as: "recorded" as const };
  const { rows } = await simulate(trace.source, {
    ...{ policies: [policy], cacheBytes: [trace.cacheBytes], machine, passes },
    ...more,
  });
  return rows[0];
}

const secondsOf = (row: SimulationRow) =>
  row.prefillTokens / (row.prefillTokensPerSecond ?? Number.POSITIVE_INFINITY) +
  row.decodeTokens / (row.predictedTokensPerSecond ?? Number.POSITIVE_INFINITY);

describe("virtual time", () => {
  test("is computing, waiting and management, none of them negative", () => {
    fc.assert(
      fc.property(generatedTraces(), policies, starts, speeds, (trace, name, start, speed) => {
        const policy = replayPolicy(name);
        fc.pre(!policy.knowsFuture || start === "cold");
        const options: ReplayOptions = {
          ...{ trace: trace.source.description, policy, cacheBytes: trace.cacheBytes, start },
          ...{ machine: machineOf(trace, speed), passes: { as: "recorded" } },
        };
        const replay = new Replay(options);
        for (const sample of trace.samples) replay.sample(sample);
        const { prefill, decode } = replay.figures();
        for (const phase of [prefill, decode]) expectSum(phase);
        const tokens = trace.samples.reduce((sum, { length }) => sum + length, 0);
        expect(prefill.tokens + decode.tokens).toBe(tokens);
      }),
    );
  });

  test("every pass is told, and passes add up to the figures", () => {
    fc.assert(
      fc.property(generatedTraces(), starts, speeds, (trace, start, speed) => {
        const told: ReplayedPass[] = [];
        const replay = new Replay({
          ...{ trace: trace.source.description, policy: replayPolicy("lru"), cacheBytes: trace.cacheBytes, start },
          ...{ machine: machineOf(trace, speed), passes: { as: "recorded" }, onPass: (pass) => told.push(pass) },
        });
        for (const sample of trace.samples) replay.sample(sample);
        const figures = replay.figures();
        for (const phase of ["prefill", "decode"] as const) {
          const own = told.filter((pass) => pass.phase === phase);
          expect(own).toHaveLength(figures[phase].passes);
          for (const name of ["tokens", "wallMs", "computeMs", "stallMs", "managementMs"] as const)
            expect(own.reduce((sum, pass) => sum + pass[name], 0)).toBeCloseTo(figures[phase][name], 6);
        }
        expect([...new Set(told.map(({ request }) => request))]).toEqual(trace.samples.map(({ sample }) => sample));
      }),
    );
  });

  test("a faster drive never makes it longer, when reads are on demand", () =>
    fc.assert(
      fc.asyncProperty(
        generatedTraces(),
        fc.constantFrom(...DEMAND_ONLY),
        speeds,
        speeds,
        async (trace, name, a, b) => {
          const slow = await run(trace, name, machineOf(trace, Math.min(a, b)));
          const fast = await run(trace, name, machineOf(trace, Math.max(a, b)));
          expect(secondsOf(fast)).toBeLessThanOrEqual(secondsOf(slow) * (1 + 1e-9));
          expect(fast.misses).toBe(slow.misses);
        },
      ),
    ));

  test("with a drive without limits nothing waits", () =>
    fc.assert(
      fc.asyncProperty(generatedTraces(), policies, async (trace, name) => {
        const machine = machineOf(trace, Number.POSITIVE_INFINITY);
        const row = await run(trace, name, { ...machine, engine: { msPerStop: 0, msPerHandover: 0, msPerRequest: 0 } });
        expect(row.stallMs ?? 0).toBe(0);
        if (row.predictedTokensPerSecond === null) return;
        // A token uses k different experts in each layer, so its computing is that of the model.
        const shape = shapeOf(trace.source.description.model);
        expect(1000 / row.predictedTokensPerSecond).toBeCloseTo(computeMsOf(machine.compute, shape, 1));
      }),
    ));
});

describe("reads", () => {
  test("on demand are all experts that the passes use", () =>
    fc.assert(
      fc.asyncProperty(generatedTraces(), async (trace) => {
        const row = await run(trace, "on-demand", machineOf(trace, 1e9));
        expect(row.bytesDemanded).toBe(bytesUsed(trace));
        expect(row.hits).toBe(0);
      }),
    ));

  test("no policy without foresight of reads demands less than Belady's, where experts have one size", () =>
    fc.assert(
      fc.asyncProperty(generatedTraces({ equalSizes: true }), policies, async (trace, name) => {
        fc.pre(name !== "oracle-prefetch");
        const machine = machineOf(trace, 1e9);
        const least = await run(trace, "belady", machine);
        expect((await run(trace, name, machine)).misses).toBeGreaterThanOrEqual(least.misses);
      }),
    ));

  test("ahead with foresight are never for nothing, but at the end", () =>
    fc.assert(
      fc.asyncProperty(generatedTraces(), speeds, starts, async (trace, speed, start) => {
        const row = await run(trace, "oracle-prefetch", machineOf(trace, speed), { start });
        const cancelled = 0;
        expect(row.bytesWasted).toBe(cancelled);
      }),
    ));
});

test("every sample starts anew when it starts cold", async () => {
  // Two samples of the same token: warm, the second one only hits.
  const samples = [0, 1].map((sample) => sampleOf([[[0, 1]], [[0, 1]]], { sample }));
  const model = { experts: 4, expertsUsed: 2, expertBytes: [2 ** 20] };
  const source = memoryTrace(describedTrace(model, samples), samples);
  const trace = { source, samples, cacheBytes: 4 * 2 ** 20 };
  expect(await run(trace, "lru", machineOf(trace, 1e9))).toMatchObject({ misses: 2, hits: 6 });
  expect(await run(trace, "lru", machineOf(trace, 1e9), { start: "cold" })).toMatchObject({ misses: 4, hits: 4 });
});

test("a warm-up is not counted, and its experts are there", async () => {
  const samples = [sampleOf([[[0]], [[1]], [[0]], [[2]]])];
  const source = memoryTrace(describedTrace({ experts: 4, expertsUsed: 1, expertBytes: [2 ** 20] }, samples), samples);
  const trace = { source, samples, cacheBytes: 4 * 2 ** 20 };
  const row = await run(trace, "lru", machineOf(trace, 1e9), { warmupTokens: 2 });
  expect(row).toMatchObject({ decodeTokens: 2, hits: 1, misses: 1, bytesPerToken: 2 ** 19 });
  const nothing = { decodeTokens: 0, hits: 0, misses: 0, predictedTokensPerSecond: null, stallMs: null };
  expect(await run(trace, "lru", machineOf(trace, 1e9), { warmupTokens: 5 })).toMatchObject(nothing);
  const twice = {
    source: memoryTrace(source.description, [...samples, ...samples]),
    samples,
    cacheBytes: trace.cacheBytes,
  };
  const cold = await run(twice, "lru", machineOf(trace, 1e9), { warmupTokens: 2, start: "cold" });
  expect(cold).toMatchObject({ decodeTokens: 4, hits: 2, misses: 2 });
  expect(cold.predictedTokensPerSecond).toBeCloseTo(row.predictedTokensPerSecond!, 9);
});

test("tokens that were not computed in the last layer use nothing there", async () => {
  const none = 0xffff;
  const prompt = { phases: Uint8Array.from([0, 0]), batches: Uint32Array.from([0, 0]) };
  const samples = [
    sampleOf(
      [
        [[0], [none]],
        [[1], [3]],
      ],
      prompt,
    ),
  ];
  const source = memoryTrace(
    describedTrace({ experts: 4, expertsUsed: 1, expertBytes: [2 ** 20, 2 ** 20] }, samples),
    samples,
  );
  const trace = { source, samples, cacheBytes: 4 * 2 ** 20 };
  expect(await run(trace, "lru", machineOf(trace, 1e9))).toMatchObject({ misses: 3, prefillTokens: 2 });
  const asDecode = await simulate(source, {
    ...{ policies: ["lru"], cacheBytes: [trace.cacheBytes], machine: machineOf(trace, 1e9) },
  });
  expect(asDecode.rows[0]).toMatchObject({ misses: 3, decodeTokens: 2 });
  expect(asDecode.notes).toEqual([expect.stringMatching(/^1 tokens have no choice in the last layer/)]);
});

test("a cache that cannot hold one token's experts of a layer is refused, with the smallest that can", () => {
  const samples = [sampleOf([[[0, 1]]])];
  const trace = describedTrace({ experts: 4, expertsUsed: 2, expertBytes: [2 ** 20] }, samples);
  const source = memoryTrace(trace, samples);
  const machine = machineOf({ source, samples, cacheBytes: 0 }, 1e9);
  const open = () => new Replay({ trace, policy: replayPolicy("lru"), cacheBytes: 2 ** 20, machine });
  expect(open).toThrow(CacheTooSmallError);
  expect(open).toThrow(expect.objectContaining({ smallestBytes: 2 * 2 ** 20 }));
});

function expectSum({ wallMs, computeMs, stallMs, managementMs }: PhaseFigures): void {
  for (const ms of [computeMs, stallMs, managementMs]) expect(ms).toBeGreaterThanOrEqual(0);
  expect(computeMs + stallMs + managementMs).toBeCloseTo(wallMs, 6);
}

/** Distinct experts of each pass and layer. */
function bytesUsed({ source, samples }: GeneratedTrace): number {
  const { expertBytes, expertsUsed } = source.description.model;
  const layers = expertBytes.length;
  let bytes = 0;
  for (const { experts, batches, length } of samples)
    for (let layer = 0; layer < layers; layer++)
      for (let from = 0, to = 0; from < length; from = to) {
        const used = new Set<number>();
        for (; to < length && batches[to] === batches[from]; to++)
          for (let rank = 0; rank < expertsUsed; rank++) used.add(experts[(to * layers + layer) * expertsUsed + rank]);
        bytes += used.size * expertBytes[layer];
      }
  return bytes;
}
