/** What a runtime sees: against recorded runs of real models, and against the engine's own cache. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readRouteTrace } from "../../test/traces/route-trace.ts";
import { generatedRuns, type RecordedIteration, replay } from "../cache/replay.test-data.ts";
import { type ModelShape, tokenCycleBytes } from "../cache/shape.ts";
import { totalCounters } from "../cache/statistics.ts";
import { lru } from "../policy/lru.ts";
import type { TraceSample } from "../trace/trace.ts";
import { makeSequence } from "./expert-sequence.ts";
import type { MicroBatches } from "./report-data.ts";
import { makeRuntimeScratch, readBatches, runtimeHits } from "./runtime-caches.ts";
import { keysFor } from "./stack-curves.test-data.ts";
import { chooseExperts, madeSamples, randomNumbers } from "./traces.test-data.ts";

const MIB = 1024 * 1024;

/** The recorded iterations as one sample: one forward pass each. */
function sampleOf({ layers, expertsUsed }: ModelShape, iterations: readonly RecordedIteration[]): TraceSample {
  // A pass may have computed fewer tokens in some layer; what is missing there stays empty.
  const widths = iterations.map(({ stops }) => Math.max(...stops.map(({ tokens }) => tokens)));
  const length = widths.reduce((sum, width) => sum + width, 0);
  const experts = new Uint16Array(length * layers * expertsUsed).fill(0xffff);
  const batches = new Uint32Array(length);
  let first = 0;
  iterations.forEach(({ stops }, pass) => {
    batches.fill(pass, first, first + widths[pass]);
    for (const { layer, experts: chosen } of stops)
      for (let i = 0; i < chosen.length; i++) {
        const token = first + Math.floor(i / expertsUsed);
        experts[(token * layers + layer) * expertsUsed + (i % expertsUsed)] = chosen[i];
      }
    first += widths[pass];
  });
  const [empty] = madeSamples({ experts: 1, expertsUsed, samples: [{ length, route: () => [] }] });
  return { ...empty, batches, experts };
}

function lruRun(
  shape: ModelShape,
  sample: TraceSample,
  capacityBytes: number,
  microBatches: MicroBatches = "recorded",
) {
  const { layers, experts, expertsUsed, expertBytes } = shape;
  const sequence = makeSequence(layers * experts, sample.length * layers, expertsUsed);
  readBatches(
    sequence,
    { sample, begin: 0, end: sample.length },
    shape,
    { from: 0, to: layers },
    microBatches,
    new Int32Array(experts),
  );
  const bytesOf = Float64Array.from({ length: layers * experts }, (_, id) => expertBytes[Math.floor(id / experts)]);
  const hits = runtimeHits(sequence, undefined, capacityBytes, bytesOf, makeRuntimeScratch(layers * experts));
  return { sequence, hits, lookups: sequence.starts[sequence.tokens] };
}

describe.each([
  { name: "qwen", mib: 4000, percent: 74.9 },
  { name: "gemma", mib: 4000, percent: 76.8 },
  { name: "gptoss", mib: 3000, percent: 32.4 },
] as const)("recorded run of $name", ({ name, mib, percent }) => {
  const { shape, iterations } = readRouteTrace(name);
  const sample = sampleOf(shape, iterations);

  test(`LRU over ${mib} MiB hits ${percent} %, as the engine that recorded it`, () => {
    const { hits, lookups } = lruRun(shape, sample, mib * MIB);
    expect(Number(((100 * hits) / lookups).toFixed(1))).toBe(percent);
  });

  test("LRU hits exactly never below a token cycle", () => {
    const decode = sampleOf(
      shape,
      iterations.filter(({ phase }) => phase === "decode"),
    );
    const cycle = tokenCycleBytes(shape);
    expect(lruRun(shape, decode, cycle - Math.max(...shape.expertBytes) * shape.expertsUsed).hits).toBe(0);
    expect(lruRun(shape, decode, cycle).hits).toBeGreaterThan(0);
  });
});

test("LRU of one token cycle hits exactly what neighbouring tokens share", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, layers) => {
      const random = randomNumbers(seed);
      const shape = { layers, experts: 9, expertsUsed: 3, expertBytes: new Array(layers).fill(10) };
      const [sample] = madeSamples({ ...shape, samples: [{ length: 50, route: () => chooseExperts(9, 3, random) }] });
      const row = layers * 3;
      let shared = 0;
      for (let t = 1; t < 50; t++)
        for (let layer = 0; layer < layers; layer++) {
          const at = t * row + layer * 3;
          const before = sample.experts.subarray(at - row, at - row + 3);
          for (const expert of sample.experts.subarray(at, at + 3)) if (before.includes(expert)) shared++;
        }
      expect(lruRun(shape, sample, layers * 3 * 10, "token").hits).toBe(shared);
      if (layers > 1) expect(lruRun(shape, sample, (layers - 1) * 3 * 10, "token").hits).toBe(0);
    }),
  );
});

test("hits are those of the engine's cache under LRU, whatever sizes and micro-batches are", () => {
  fc.assert(
    fc.property(generatedRuns(), ({ shape, iterations, budgetBytes }) => {
      const { hits, lookups } = lruRun(shape, sampleOf(shape, iterations), budgetBytes);
      const engine = totalCounters(replay(shape, iterations, budgetBytes, lru()));
      expect({ hits, misses: lookups - hits }).toEqual({ hits: engine.hits, misses: engine.misses });
    }),
  );
});

test("seeing ahead pays, on average", () => {
  const random = randomNumbers(8);
  const shape = { layers: 4, experts: 16, expertsUsed: 2, expertBytes: [1, 1, 1, 1] };
  const [sample] = madeSamples({
    ...shape,
    samples: [{ length: 400, route: () => chooseExperts(16, 2, () => random() ** 2) }],
  });
  const { sequence, hits } = lruRun(shape, sample, 16, "token");
  const bytesOf = new Float64Array(64).fill(1);
  const run = (policy: "belady" | "lfu" | { sch: number }) =>
    runtimeHits(sequence, keysFor(sequence, policy), 16, bytesOf, makeRuntimeScratch(64));
  expect(run("belady")).toBeGreaterThan(run({ sch: 16 * 4 }));
  expect(run({ sch: 16 * 4 })).toBeGreaterThan(hits);
  expect(run("lfu")).toBeGreaterThan(hits);
});

test("a cache too small for a layer's experts hits nothing and does not fail", () => {
  const shape = { layers: 2, experts: 4, expertsUsed: 3, expertBytes: [5, 5] };
  const [sample] = madeSamples({
    ...shape,
    samples: [{ length: 6, route: (layer) => (layer === 0 ? [0, 1, 2] : [1, 2, 3]) }],
  });
  expect(lruRun(shape, sample, 4, "token").hits).toBe(0);
  expect(lruRun(shape, sample, 1000, "token")).toMatchObject({ hits: 30, lookups: 36 });
});
