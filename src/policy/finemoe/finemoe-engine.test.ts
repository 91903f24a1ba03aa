/** `finemoe` in the engine's own stream, on a drive and a clock of a simulation: pauses, deadlocks, and sums of counters. */
import { describe, expect, test } from "vitest";
import { LayerExceedsBudgetError } from "../../cache/layer-budget.ts";
import { totalCounters } from "../../cache/statistics.ts";
import { ExpertStream } from "../../engine/expert-stream.ts";
import { computeByBytes } from "../../simulate/compute-model.ts";
import { plainDisk } from "../../simulate/disk-model.ts";
import { replayPolicy } from "../../simulate/policies.ts";
import { Replay, shapeOf } from "../../simulate/replay.ts";
import { SimulatedMemory } from "../../simulate/simulated-memory.ts";
import { simulate } from "../../simulate/sweep.ts";
import { TracedStop } from "../../simulate/traced-stop.ts";
import { VirtualClock } from "../../simulate/virtual-clock.ts";
import { policyByName } from "../by-name.ts";
import { lru } from "../lru.ts";
import { nextGate } from "../next-gate.ts";
import { driveFineMoe, rowOf } from "./driven-finemoe.test-data.ts";
import { syntheticText } from "./synthetic-text.test-data.ts";

const text = syntheticText({ tokens: 60 });
const { shape, source } = text;
const expert = shape.expertBytes[0];

function machine(bytesPerSecond: number) {
  return {
    disk: plainDisk({ bytesPerSecond, latencyMs: 0.1 }),
    compute: computeByBytes({ shape: shapeOf(source.description.model), denseBytes: 5e6 }, 10),
    engine: { msPerStop: 0.05, msPerHandover: 0.05, msPerRequest: 0.01 },
  };
}

async function rowOfRun(policy: string, slots: number, bytesPerSecond = 1e9) {
  const { rows } = await simulate(source, {
    ...{ policies: [policy], cacheBytes: [slots * expert], machine: machine(bytesPerSecond), workers: 0 },
    ...{ passes: { as: "decode" as const, promptTokens: 4 }, weights: { embeddings: text.embeddings } },
  });
  return rows[0];
}

/** Runs the first sample through a stream and tells of every hand-over what it allowed while the layer waited. */
function handovers(policy: ReturnType<typeof policyByName>): { waiting: number; speculative: number } {
  const clock = new VirtualClock();
  let stream: ExpertStream | undefined;
  const told = { waiting: 0, speculative: 0 };
  class Watched extends SimulatedMemory {
    override pump(speculativeBytes: number): void {
      if (stream !== undefined && stream.cache.awaitingCount > 0) {
        told.waiting++;
        if (speculativeBytes > 0) told.speculative++;
      }
      super.pump(speculativeBytes);
    }
  }
  const memory = new Watched({
    ...{ shape, stages: 3, disk: plainDisk({ bytesPerSecond: 1e9, latencyMs: 0.1 }), clock },
    ...{ msPerHandover: 0.05, msPerRequest: 0.01, onComplete: (key) => stream?.cache.completed(key) },
  });
  stream = new ExpertStream({
    ...{ shape, budgetBytes: 16 * expert, policy, memory, microBatchTokens: 1, aborted: () => false },
    now: () => clock.ms,
  });
  const stop = new TracedStop(source.description.model, 1);
  const [sample] = text.samples;
  stop.open(sample);
  for (let token = 0; token < sample.length; token++) {
    stream.begin("decode", token, 0, Int32Array.of(sample.tokens?.[token] ?? -1));
    for (let layer = 0; layer < shape.layers; layer++) {
      clock.ms += 1;
      stop.at(layer, token, token + 1);
      stream.routed(stop);
      for (let stage = 0; stage < 3; stage++) {
        stream.multiply(layer, stage);
        clock.ms += 0.3;
      }
    }
    stream.finished();
  }
  const { prefetchesIssued } = totalCounters(stream.cache.statistics());
  expect(prefetchesIssued).toBeGreaterThan(20);
  return told;
}

describe("finemoe in the engine", () => {
  test("no read ahead is handed to the drive while the running layer waits for one", () => {
    const told = handovers(policyByName("finemoe:mode=inline,distance=3,inflight=8"));
    expect(told.waiting).toBeGreaterThan(100);
    expect(told.speculative).toBe(0);
  });

  test("a policy that does not pause does hand over reads ahead meanwhile", () => {
    const paused = policyByName("finemoe:mode=inline,distance=3,inflight=8");
    const hasty = Object.assign(paused, { pausesForDemand: false });
    expect(handovers(hasty).speculative).toBeGreaterThan(100);
  });

  test("of reads ahead each was used, wasted, called off, or is still there unused", async () => {
    for (const policy of [
      "finemoe:distance=3",
      "finemoe:distance=2,inflight=16,plan=band",
      "finemoe-plus:next-gate=off",
    ]) {
      const figures = replayOf(policy);
      const { prefill, decode, unused } = figures;
      const sum = (name: "prefetchesIssued" | "prefetchesUsed" | "prefetchesWasted" | "prefetchesCancelled") =>
        prefill[name] + decode[name];
      expect(sum("prefetchesIssued")).toBeGreaterThan(10);
      expect(sum("prefetchesIssued")).toBe(
        sum("prefetchesUsed") + sum("prefetchesWasted") + sum("prefetchesCancelled") + unused,
      );
      expect(figures.readsAhead).toBe(sum("prefetchesIssued"));
    }
  });

  test("a cache of K + 1 experts finishes, reading ahead, whatever the drive", async () => {
    for (const policy of [
      "finemoe:distance=1,inflight=4",
      "finemoe:threshold=coverage,inflight=64,plan=band",
      "finemoe-plus:next-gate=off",
    ])
      for (const speed of [1e8, 1e9, 2e10]) {
        const row = await rowOfRun(policy, shape.expertsUsed + 1, speed);
        expect(row.decodeTokens + row.prefillTokens).toBe(120);
        expect(row.hits + row.lateHits + row.misses).toBeGreaterThan(0);
      }
  });

  test("edge 9: a batch whose experts of one layer cannot be held together is refused, not waited for", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=inline", { slots: shape.expertsUsed + 1 });
    driven.begin([0, 1, 2, 3]);
    const rows = [0, 1, 2, 3].map((first) => Float32Array.from({ length: 8 }, (_, i) => (i >> 1 === first ? 0.5 : 0)));
    expect(() => driven.route(0, rows)).toThrow(LayerExceedsBudgetError);
  });

  test("the budget is never exceeded", () => {
    const driven = driveFineMoe(shape, "finemoe:mode=inline,distance=2,inflight=64,plan=band", { slots: 9 });
    const [sample] = text.samples;
    for (let token = 0; token < sample.length; token++) {
      const map = (sample.probs as Float32Array).subarray(token * 48, (token + 1) * 48);
      driven.begin([sample.tokens?.[token] ?? -1]);
      for (let layer = 0; layer < shape.layers; layer++) {
        driven.route(layer, [rowOf(shape, map, layer)]);
        driven.speculate();
        expect(driven.cache.usedBytes).toBeLessThanOrEqual(driven.cache.budgetBytes);
        driven.arrive();
        driven.speculate();
        expect(driven.cache.usedBytes).toBeLessThanOrEqual(driven.cache.budgetBytes);
      }
    }
    expect(driven.figures().readsAhead).toBeGreaterThan(50);
  });

  test("edge 14: the same run takes the same decisions", () => {
    expect(decisionsOf("finemoe:distance=2,inflight=4")).toEqual(decisionsOf("finemoe:distance=2,inflight=4"));
  });

  test("edge 5: dense blocks between the MoE layers change nothing", () => {
    const sparse = syntheticText({ tokens: 60, model: { blocks: 12, moeBlocks: [1, 3, 4, 7, 9, 11] } });
    expect(decisionsOf("finemoe:distance=2,inflight=4", sparse)).toEqual(decisionsOf("finemoe:distance=2,inflight=4"));
  });

  test("text like that before is foreseen, and read ahead", async () => {
    const [foreseen, onDemand] = [await rowOfRun("finemoe:distance=2,inflight=4", 12), await rowOfRun("lru", 12)];
    const { forecastUses, forecastUsesSelected } = foreseen.policyFigures as Record<string, number>;
    expect(forecastUsesSelected).toBeGreaterThan(0.6 * forecastUses);
    expect(foreseen.coverage).toBeGreaterThan(0.2);
    expect(onDemand.policyFigures).toBeNull();
  });

  test("it runs on traces without tokens, embeddings or probabilities, and says what it did without", async () => {
    const bare = syntheticText({ tokens: 60, probabilities: false });
    const withoutTokens = {
      ...bare.source,
      description: { ...bare.source.description, columns: { ...bare.source.description.columns, tokens: false } },
    };
    const { rows } = await simulate(withoutTokens, {
      ...{ policies: ["finemoe:distance=2"], cacheBytes: [12 * expert], machine: machine(1e9), workers: 0 },
    });
    const figures = rows[0].policyFigures as Record<string, number>;
    expect(figures.iterationsByTokenIdOnly).toBe(120);
    expect(figures.trajectorySearches).toBeGreaterThan(300);
    expect(figures.readsAhead).toBeGreaterThan(20);
  });

  test("an addition to it keeps its figures and its pauses", () => {
    const policy = nextGate(policyByName("finemoe"));
    expect(policy.pausesForDemand).toBe(true);
    expect(policy.figures).toBeTypeOf("function");
    expect(nextGate(lru()).figures?.()).toEqual({ layersWithoutNextGate: 0 });
  });
});

/** Decisions of the replay of all samples. */
function decisionsOf(policy: string, { source, samples, embeddings } = text): readonly string[] {
  const log: string[] = [];
  const replay = new Replay({
    ...{ trace: source.description, policy: replayPolicy(policy), cacheBytes: 12 * expert, machine: machine(1e9) },
    onDecision: (decision, key) => void log.push(`${decision} ${key}`),
  });
  for (const sample of samples) replay.sample(sample, signalsOf(sample, embeddings));
  replay.figures();
  expect(log.filter((line) => line.startsWith("prefetch")).length).toBeGreaterThan(20);
  return log;
}

function replayOf(policy: string) {
  const replay = new Replay({
    ...{ trace: source.description, policy: replayPolicy(policy), cacheBytes: 12 * expert, machine: machine(1e9) },
  });
  for (const sample of text.samples) replay.sample(sample, signalsOf(sample, text.embeddings));
  const unused = replay.statistics()?.prefetchesUnused ?? 0;
  const { prefill, decode, policyFigures } = replay.figures();
  return { prefill: prefill.counters, decode: decode.counters, unused, readsAhead: policyFigures?.readsAhead };
}

function signalsOf(
  { tokens = new Int32Array(0), length }: (typeof text.samples)[number],
  embeddings: typeof text.embeddings,
) {
  const rows = new Float32Array(length * embeddings.width);
  embeddings.rows(tokens, rows);
  return { embeddings: rows, embeddingWidth: embeddings.width, nextGate: undefined };
}
