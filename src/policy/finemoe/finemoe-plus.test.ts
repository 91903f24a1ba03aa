import { describe, expect, test } from "vitest";
import type { Residents } from "../../cache/policy.ts";
import { routerEvent, routing } from "../../cache/replay.test-data.ts";
import type { ExpertKey, ModelShape } from "../../cache/shape.ts";
import { computeByBytes } from "../../simulate/compute-model.ts";
import { plainDisk } from "../../simulate/disk-model.ts";
import { replayPolicy } from "../../simulate/policies.ts";
import { Replay, shapeOf } from "../../simulate/replay.ts";
import { decodeStepsOf, realTrace } from "../../simulate/traces.test-data.ts";
import type { TraceSource } from "../../trace/trace.ts";
import { ExpectedValueAdmission } from "./admission.ts";
import { driveFineMoe, rowOf } from "./driven-finemoe.test-data.ts";
import { FirstLayers } from "./first-layers.ts";
import { ForecastMix } from "./forecast-mix.ts";
import { NextUseEviction } from "./next-use-eviction.ts";
import { syntheticText } from "./synthetic-text.test-data.ts";
import { UseCalibration } from "./use-calibration.ts";
import { UseShares } from "./use-shares.ts";

const NOTHING =
  "admission=off,calibration=off,neighbours=1,ensemble=off,next-use=off,first-layers=off,same-token=first";

async function replayed(source: TraceSource, policy: string, cacheShare: number) {
  const shape = shapeOf(source.description.model);
  const all = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
  const log: string[] = [];
  const replay = new Replay({
    ...{ trace: source.description, policy: replayPolicy(policy), cacheBytes: cacheShare * all },
    machine: {
      disk: plainDisk({ bytesPerSecond: 2e9, latencyMs: 0.1 }),
      compute: computeByBytes({ shape, denseBytes: 5e6 }, 20),
      engine: { msPerStop: 0.05, msPerHandover: 0.05, msPerRequest: 0.01 },
    },
    passes: { as: "recorded" },
    onDecision: (decision, key) => void log.push(`${decision} ${key}`),
  });
  for await (const sample of source.samples(0, { weights: true })) replay.sample(sample);
  return { log, figures: replay.figures() };
}

describe("finemoe-plus with everything off", () => {
  test("takes finemoe's decisions, one by one, on a recorded trace of a real model", async () => {
    const { source } = realTrace("qwen");
    for (const switches of [
      "inflight=4,distance=3",
      "threshold=coverage,plan=band",
      "prefill=on,record=mean,eviction=lfu",
    ]) {
      const plain = await replayed(source, `finemoe:${switches}`, 0.25);
      const plus = await replayed(source, `finemoe-plus:${switches},${NOTHING}`, 0.25);
      expect(plain.log.filter((line) => line.startsWith("prefetch")).length).toBeGreaterThan(100);
      expect(plus.log).toEqual(plain.log);
      expect(plus.figures).toEqual(plain.figures);
    }
  }, 60_000);
});

describe("finemoe-plus", () => {
  test("each idea changes what is decided, and shows in its figures", async () => {
    const { source: whole, samples } = realTrace("qwen");
    const source = decodeStepsOf(whole.description, samples[0]);
    const run = (ideas: readonly string[]) =>
      replayed(source, `finemoe-plus:inflight=4,distance=3,eviction=lru,${ideas.join(",")}`, 0.05);
    const off = await run(NOTHING.split(","));
    for (const [idea, figure] of [
      ["admission=on", "admitted"],
      ["calibration=on", "calibrationOutcomes"],
      ["neighbours=8", "forecastLayers"],
      ["ensemble=on,next-gate=off", "mixOutcomes"],
      ["next-use=on", "evictionsByNextUse"],
      ["first-layers=on", "favouritesSpared"],
    ]) {
      const [name] = idea.split("=");
      const on = await run([...NOTHING.split(",").filter((each) => !each.startsWith(`${name}=`)), idea]);
      expect(on.figures.policyFigures?.[figure], idea).toBeGreaterThan(0);
      expect(on.log, idea).not.toEqual(off.log);
    }
  }, 60_000);

  test("the next layer's router is one of the voices", () => {
    const text = syntheticText();
    const { shape } = text;
    const driven = driveFineMoe(shape, "finemoe-plus:mode=inline,admission=off,calibration=off,inflight=64", {
      slots: 48,
    });
    driven.begin([0]);
    const scores = Float32Array.from({ length: 8 }, (_, expert) => (expert === 6 ? 9 : expert === 1 ? 8 : 0));
    driven.route(0, [rowOf(shape, text.map(0), 0)], { nextGate: scores });
    driven.arrive();
    driven.told();
    driven.speculate();
    expect(driven.told()).toEqual(["prefetch 14", "prefetch 9"]);
  });
});

const shape: ModelShape = { layers: 4, experts: 4, expertsUsed: 1, expertBytes: [10, 10, 10, 10] };

function using(shares: UseShares, layer: number, expert: number, times: number): void {
  for (let i = 0; i < times; i++) shares.routed(routerEvent(routing(shape, layer, [[expert]])));
}

function holding(...keys: number[]): Residents {
  return {
    ...{ count: keys.length, usedBytes: 0, budgetBytes: 0 },
    at: (i) => keys[i] as ExpertKey,
    has: (key) => keys.includes(key),
    evictable: (key) => keys.includes(key),
  };
}

describe("idea 1: expected-value admission", () => {
  test("on an idle link what is likelier than its loss is read, on a busy one only what is as good as certain", () => {
    const admission = new ExpectedValueAdmission(shape);
    for (let layer = 0; layer < 200; layer++) admission.routed();
    expect(admission.linkUse).toBeLessThan(0.01);
    expect(admission.admits(0.2, 0.1)).toBe(true);
    expect(admission.admits(0.2, 0.3)).toBe(false);
    for (let layer = 0; layer < 200; layer++) {
      admission.demanded();
      admission.routed();
    }
    expect(admission.linkUse).toBeGreaterThan(0.99);
    expect(admission.admits(0.45, 0)).toBe(false);
    expect(admission.admits(0.6, 0.1)).toBe(true);
    expect(admission).toMatchObject({ admitted: 2, refused: 2 });
  });

  test("a token's speculative bytes are capped, one expert at least", () => {
    const admission = new ExpectedValueAdmission(shape);
    expect(admission.affordable(10)).toBe(true);
    admission.prefetched(10);
    expect(admission.affordable(10)).toBe(false);
    admission.iterationStarts();
    expect(admission.affordable(10)).toBe(true);
  });
});

describe("idea 3: calibration", () => {
  test("learns that a forecast of .5 is used one time in ten, in its layer more than in others", () => {
    const calibration = new UseCalibration(shape);
    const row = Float32Array.from([0.5, 0.3, 0.1, 0.1]);
    calibration.forecast(0, row, 0.9);
    const before = calibration.chance(0);
    expect(before).toBeCloseTo(0.5, 0);
    for (let i = 0; i < 500; i++) {
      calibration.forecast(0, row, 0.9);
      const key = i % 10 === 0 ? 0 : 1;
      calibration.routed(0, Int32Array.of(key), 1);
    }
    calibration.forecast(0, row, 0.9);
    calibration.forecast(1, row, 0.9);
    calibration.forecast(2, row, 0.3);
    expect(calibration.chance(0)).toBeCloseTo(0.1, 1);
    expect(calibration.chance(1)).toBeCloseTo(0.9, 1);
    expect(calibration.chance(4)).toBeCloseTo(0.1, 1);
    // Matches of another similarity are another class.
    expect(calibration.chance(8)).toBeCloseTo(before, 1);
    expect(calibration.squaredErrors / calibration.outcomes).toBeLessThan(0.25);
  });

  test("without a forecast there is no chance", () => {
    const calibration = new UseCalibration(shape);
    expect(calibration.chance(3)).toBe(0);
    calibration.forecast(0, Float32Array.from([0.25, 0.25, 0.25, 0.25]), 1);
    calibration.forget(0);
    expect(calibration.chance(3)).toBe(0);
  });
});

describe("idea 6: the mix", () => {
  test("a voice that is right gains weight, one that is wrong loses it", () => {
    const mix = new ForecastMix(shape);
    const into = new Float32Array(4);
    // The map says what is used next; what was used before says the opposite.
    for (let i = 0; i < 400; i++) {
      const used = i % 2;
      mix.iterationStarts(0);
      const map = Float32Array.from([0.01, 0.01, 0.01, 0.01]);
      map[used] = 0.97;
      mix.mix(1, 1, map, undefined, into);
      expect(into.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1);
      mix.routed(routerEvent(routing(shape, 1, [[used]])));
    }
    expect(mix.weight("map")).toBeGreaterThan(1.3 * mix.weight("previous"));
    expect(mix.weight("gate")).toBeCloseTo(0.2);
    expect(mix.learned).toBe(400);
  });

  test("with no voice but one it says what that one says", () => {
    const mix = new ForecastMix(shape);
    const into = new Float32Array(4);
    mix.mix(2, 3, undefined, Float32Array.from([0, 5, 0, 0]), into);
    expect(into.indexOf(Math.max(...into))).toBe(1);
    mix.mix(3, 1, undefined, undefined, into);
    expect([...into]).toEqual([0.25, 0.25, 0.25, 0.25]);
  });
});

describe("idea 7: eviction by next use", () => {
  test("of equal favourites the one whose layer has just passed goes, and a rare one before all", () => {
    const shares = new UseShares(shape);
    for (let layer = 0; layer < 4; layer++) using(shares, layer, 0, 50);
    const ranking = new NextUseEviction(shape, shares);
    ranking.routed(routerEvent(routing(shape, 1, [[0]])));
    expect(ranking.victim(holding(0, 4, 8, 12))).toBe(4);
    expect(ranking.victim(holding(0, 4, 9, 12))).toBe(9);
  });

  test("what the forecast expects stays", () => {
    const shares = new UseShares(shape);
    const ranking = new NextUseEviction(shape, shares);
    ranking.routed(routerEvent(routing(shape, 0, [[0]])));
    expect(ranking.victim(holding(5, 6))).toBe(5);
    ranking.forecast(1, Float32Array.from([0, 0.9, 0.05, 0.05]));
    expect(ranking.victim(holding(5, 6))).toBe(6);
  });
});

describe("idea 14: the first layers", () => {
  test("their favourites are spared while something else can go, and brought back", () => {
    const shares = new UseShares(shape);
    const first = new FirstLayers(shape, shares, 2, 8);
    using(shares, 0, 3, 40);
    using(shares, 1, 1, 40);
    using(shares, 3, 2, 40);
    const ranking = new NextUseEviction(shape, shares);
    first.tokenEnds();
    ranking.routed(routerEvent(routing(shape, 0, [[3]])));
    // Of all favourites, the one of layer 0 would be farthest away.
    expect(ranking.victim(holding(3, 5, 14))).toBe(3);
    expect(first.victim(holding(3, 5, 14), ranking)).toBe(14);
    expect(first.victim(holding(3, 5), ranking)).toBe(3);
    expect(first.spared).toBe(1);
    expect([3, 5]).toContain(first.best(holding(), undefined));
    expect(first.best(holding(3), undefined)).toBe(5);
    expect(first.best(holding(3, 5), undefined)).toBe(-1);
    expect(first.best(holding(3), () => false)).toBe(-1);
  });

  test("no more of them than a quarter of the budget", () => {
    const shares = new UseShares(shape);
    const first = new FirstLayers(shape, shares, 4, 7);
    for (let layer = 0; layer < 4; layer++) using(shares, layer, 0, 40);
    first.tokenEnds();
    expect(first.best(holding(0), undefined)).toBe(-1);
  });
});
