import { afterAll, describe, expect, test } from "vitest";
import { DECODE } from "../trace/trace.ts";
import { type CapturedInputs, captureTrace, readLayerInputs } from "./captured-inputs.ts";
import { collapseFindings } from "./gate-metrics.ts";
import { GateTrainer } from "./gate-product.ts";
import { measureGates } from "./layer-tasks.ts";
import { tuneLayer } from "./local/tune-layer.ts";
import { START_WEIGHTS } from "./objective/index.ts";
import { randomGates, SLOW_RULE, slowTrace } from "./slow-inputs.test-data.ts";
import { splitDocuments, tuneClosedForm, tuneLocal, withinTrustBudget } from "./tune-layers.ts";

const inputs: CapturedInputs = await captureTrace(slowTrace({ documents: 48 }));
afterAll(() => inputs[Symbol.dispose]());

const base = randomGates(2);
const subject = { inputs, base, rules: [SLOW_RULE, SLOW_RULE] };
const { training, heldOut } = splitDocuments(48);
const plan = { steps: 150, batchTokens: 512 };

describe("closed form", () => {
  test("reuse and divergence rise as mu falls, on documents that were held out", async () => {
    const mus = [32, 16, 8, 4, 2];
    const results = await tuneClosedForm(subject, { training, heldOut, mus, measuredPhase: DECODE, threads: 2 });
    expect(results.map(({ layer }) => layer)).toEqual([0, 1]);
    for (const { metrics, baseMetrics } of results) {
      const along = [baseMetrics!, ...metrics!];
      expect(along[0]).toMatchObject({ tokens: 16 * 48, trustKl: 0 });
      for (const [i, own] of along.entries()) {
        if (i === 0) continue;
        expect(own.eor).toBeGreaterThan(along[i - 1].eor);
        expect(own.trustKl).toBeGreaterThan(along[i - 1].trustKl);
      }
    }
    const [chosen] = results.map((result) => withinTrustBudget(result, results[0].metrics![2].trustKl));
    expect(chosen).toEqual({ gate: results[0].gates[2], metrics: results[0].metrics![2] });
    expect(withinTrustBudget(results[0], 0)).toBeUndefined();
  });
});

describe("local", () => {
  test("the divergence ends within 1.5 of its budget, and reuse is higher the larger it is", async () => {
    const run = (trustBudget: number) =>
      tuneLocal(subject, { ...plan, training, heldOut, trustBudget, threads: 2, measuredPhase: DECODE });
    const [small, large] = [await run(0.02), await run(0.08)];
    for (const layer of [0, 1]) {
      const [own] = small[layer].metrics!;
      expect(own.trustKl).toBeGreaterThan(0.02 / 1.5);
      expect(own.trustKl).toBeLessThan(0.02 * 1.5);
      expect(large[layer].metrics![0].trustKl).toBeLessThan(0.08 * 1.5);
      expect(own.eor).toBeGreaterThan(1.05 * small[layer].baseMetrics!.eor);
      expect(large[layer].metrics![0].eor).toBeGreaterThan(own.eor);
    }
  });

  test("the overlap term is refused where the largest logits are not the choice", async () => {
    const weights = { ...START_WEIGHTS, overlap: 0.1 };
    for (const more of [{ selectionBias: new Float32Array(12) }, { groups: { count: 4, used: 2 } }]) {
      const rules = [SLOW_RULE, { ...SLOW_RULE, ...more }];
      await expect(tuneLocal({ ...subject, rules }, { ...plan, weights })).rejects.toMatchObject({
        kind: "unsupported-router",
      });
    }
  });

  test("without locality the gate stays where it is, bit for bit, also from further away", () => {
    const own = readLayerInputs(inputs.files, 0, training);
    const none = { ...START_WEIGHTS, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0 };
    const still = tuneLayer(own, base[0], base[0], SLOW_RULE, { ...plan, steps: 20, weights: none });
    expect(still.gate.weights).toEqual(base[0].weights);
    const away = { ...base[0], weights: base[0].weights.map((value, i) => value + ((i % 7) - 3) / 30) };
    const back = tuneLayer(own, base[0], away, SLOW_RULE, { ...plan, weights: none, adaptTrust: false });
    const [before, after] = measureGates(own, base[0], [away, back.gate], SLOW_RULE);
    expect(after.trustKl).toBeLessThan(before.trustKl / 10);
  });

  test("stops before the load collapses, where an even distribution would let it", () => {
    const own = readLayerInputs(inputs.files, 0, training);
    const flat = { ...base[0], weights: base[0].weights.map((value) => value / 10) };
    const settings = { ...plan, trustBudget: 0.3, relativeRate: 0.1, weights: { ...START_WEIGHTS, reuse: 1 } };
    const { gate, share } = tuneLayer(own, flat, flat, SLOW_RULE, settings);
    expect(share).toBeLessThan(1);
    const [before, after] = measureGates(own, flat, [flat, gate], SLOW_RULE);
    expect(collapseFindings(after, before)).toEqual([]);
    expect(after.eor).toBeGreaterThan(before.eor);
    const unguarded = tuneLayer(own, flat, flat, SLOW_RULE, { ...settings, adaptTrust: false });
    const [collapsed] = measureGates(own, flat, [unguarded.gate], SLOW_RULE);
    expect(collapseFindings(collapsed, before)).not.toEqual([]);
  });

  test("a gate with a bias has both tuned", () => {
    const [biased] = randomGates(1, true);
    const rule = { ...SLOW_RULE, scoring: "logits" as const };
    const own = readLayerInputs(inputs.files, 0, training);
    const { gate, losses } = tuneLayer(own, biased, biased, rule, { ...plan, trustBudget: 0.05 });
    expect(gate.bias).not.toEqual(biased.bias);
    expect(gate.bias!.every(Number.isFinite)).toBe(true);
    const [before, after] = measureGates(own, biased, [biased, gate], rule);
    expect(after.eor).toBeGreaterThan(before.eor);
    expect(losses.trust).toBeGreaterThan(0);
  });

  test("a step goes against the gradient of the weights, dz^T h", () => {
    const shape = { width: 5, experts: 3, batchTokens: 7 };
    const start = Float32Array.from({ length: 15 }, (_, i) => Math.sin(i));
    const trainer = new GateTrainer(shape, start, Float32Array.of(1, 2, 3));
    const hidden = Float32Array.from({ length: 30 }, (_, i) => Math.cos(3 * i));
    const dz = Float32Array.from({ length: 18 }, (_, i) => Math.sin(7 * i) / 4);
    const logits = trainer.logits(hidden, 6);
    for (let t = 0; t < 6; t++)
      for (let e = 0; e < 3; e++) {
        let sum = e + 1;
        for (let i = 0; i < 5; i++) sum += start[e * 5 + i] * hidden[t * 5 + i];
        expect(logits[t * 3 + e]).toBeCloseTo(sum, 5);
      }
    expect(trainer.step(hidden, dz, 6, 0.01, 1e9)).toBe(true);
    // Adam's first step is the rate times the gradient's sign.
    for (let e = 0; e < 3; e++) {
      let own = 0;
      for (let t = 0; t < 6; t++) own += dz[t * 3 + e];
      expect(trainer.bias![e]).toBeCloseTo(e + 1 - 0.01 * Math.sign(own), 5);
      for (let i = 0; i < 5; i++) {
        let gradient = 0;
        for (let t = 0; t < 6; t++) gradient += dz[t * 3 + e] * hidden[t * 5 + i];
        expect(trainer.gate[e * 5 + i]).toBeCloseTo(start[e * 5 + i] - 0.01 * Math.sign(gradient), 5);
      }
    }
    expect(trainer.step(hidden, dz.fill(Number.NaN), 6, 0.01, 1)).toBe(false);
  });
});

describe("a sweep", () => {
  test("has the same gates whatever the threads, and can go on where it was interrupted", async () => {
    const short = { ...plan, steps: 10, training };
    const whole = await tuneLocal(subject, { ...short, threads: 2 });
    const kept = await tuneLocal(subject, { ...short, layers: [1] });
    expect(kept[0].gates).toEqual(whole[1].gates);
    expect(whole[0].metrics).toBeUndefined();
  });

  test("tells its progress and each layer, and ends when told", async () => {
    const told: number[] = [];
    let last = 0;
    const layers: number[] = [];
    const abort = new AbortController();
    const endless = tuneLocal(subject, {
      ...{ ...plan, steps: 1e6, training, signal: abort.signal },
      onProgress: ({ tokensDone, tokens }) => {
        told.push(tokensDone / tokens);
        abort.abort(new Error("enough"));
      },
    });
    await expect(endless).rejects.toThrow("enough");
    expect(told[0]).toBeGreaterThan(0);
    expect(told.at(-1)).toBeLessThan(1);
    // Steps take more tokens than there are.
    const few = { training: training.slice(0, 2), steps: 4, batchTokens: 4096 };
    await tuneLocal(subject, {
      ...few,
      onProgress: ({ tokensDone, tokens }) => {
        last = tokensDone / tokens;
      },
    });
    expect(last).toBe(1);
    await tuneClosedForm(subject, { mus: [4], onLayer: ({ layer }) => layers.push(layer) });
    expect(layers).toEqual([0, 1]);
  });

  test("refuses other models' gates, too little to tune on, and losses that are no numbers", async () => {
    const other = { ...subject, base: base.slice(0, 1) };
    await expect(tuneLocal(other)).rejects.toMatchObject({ name: "TuneError", kind: "wrong-model" });
    await expect(tuneClosedForm(subject, { training: [] })).rejects.toMatchObject({ kind: "too-little-data" });
    const broken = base.map((gate) => ({ ...gate, weights: gate.weights.with(0, Number.NaN) }));
    await expect(tuneLocal({ ...subject, base: broken }, { training, steps: 50 })).rejects.toMatchObject({
      ...{ name: "TuneError", kind: "diverged" },
    });
  });
});
