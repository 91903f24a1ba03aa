import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openGguf } from "../../gguf/index.ts";
import { loadLibraries } from "../../llama/index.ts";
import { START_WEIGHTS } from "../objective/index.ts";
import {
  FLOAT_MODELS,
  makeFloatModel,
  SMALL_FLOAT_MODELS,
  someTokens,
  stockForward,
} from "./float-models.test-data.ts";
import { type GradientRequest, LayeredModel } from "./layered-model.ts";
import { type LocalityTermsOptions, localityTerms } from "./locality-terms.ts";
import type { RouterTerms } from "./router-terms.ts";
import { readWiring } from "./wiring.ts";

const folder = mkdtempSync(join(tmpdir(), "layered-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

// Two of one length and one of another: sequences must not see each other.
const SEQUENCES = [
  { tokens: someTokens(19, 1) },
  { tokens: someTokens(7, 2), promptTokens: 3 },
  { tokens: someTokens(19, 3) },
];
const TOKENS = 45;

function openModel(path: string, options: { withOriginal?: boolean; weightBytes?: number } = {}): LayeredModel {
  const gguf = openGguf(path);
  return new LayeredModel(loadLibraries(), gguf, readWiring(gguf), {
    batchTokens: TOKENS,
    sequenceTokens: 19,
    ...options,
  });
}

describe.each(FLOAT_MODELS)("$name", (spec) => {
  test("computes llama.cpp's logits, choices and cross-entropy", async () => {
    const path = await makeFloatModel(folder, spec);
    using model = openModel(path);
    const { vocabulary, layers, router } = model.wiring;
    const own = model.logits(SEQUENCES, model.originalGates);
    let row = 0;
    let crossEntropy = 0;
    for (const { tokens } of SEQUENCES) {
      const stock = stockForward(path, tokens, layers.length);
      const logits = own.logits.subarray(row * vocabulary, (row + tokens.length) * vocabulary);
      expect(largestGap(logits, stock.logits)).toBeLessThan(1e-3);
      for (const [layer, ids] of stock.ids.entries())
        expect([...own.ids[layer].subarray(row * router.used, (row + tokens.length) * router.used)]).toEqual(ids);
      for (let t = 0; t + 1 < tokens.length; t++)
        crossEntropy += surprise(stock.logits.subarray(t * vocabulary, (t + 1) * vocabulary), tokens[t + 1]);
      row += tokens.length;
    }
    const losses = model.evaluate(SEQUENCES, model.originalGates);
    expect(losses.targets).toBe(TOKENS - SEQUENCES.length);
    expect(Math.abs(losses.crossEntropy - crossEntropy) / losses.targets).toBeLessThan(1e-4);
  });
});

function largestGap(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), 0);
}

function surprise(logits: Float32Array, token: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b));
  return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) + most - logits[token];
}

interface Case {
  readonly name: string;
  readonly task: GradientRequest["task"];
  readonly terms?: LocalityTermsOptions;
  readonly couple?: boolean;
}

const NO_WEIGHTS = { trust: 0, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0, overlap: 0, balance: 0 };
const NO_TASK = { crossEntropy: 0, distillation: 0 };
const CASES: readonly Case[] = [
  { name: "cross-entropy", task: { crossEntropy: 1, distillation: 0 } },
  { name: "distillation", task: { crossEntropy: 0, distillation: 1 } },
  { name: "half of each", task: { crossEntropy: 0.5, distillation: 0.5 } },
  ...(["trust", "reuse", "smooth", "lag", "windowEntropy", "overlap", "balance"] as const).map((term) => ({
    name: `${term} with coupled layers`,
    task: NO_TASK,
    terms: { weights: { ...NO_WEIGHTS, [term]: 1 }, window: 4 },
    couple: true,
  })),
  { name: "everything, layers not coupled", task: { crossEntropy: 1, distillation: 0 }, terms: { window: 4 } },
  {
    name: "everything, layers coupled",
    task: { crossEntropy: 1, distillation: 0 },
    terms: { window: 4 },
    couple: true,
  },
];

describe.each(SMALL_FLOAT_MODELS)("gradients of the gates of $name", (spec) => {
  test.each(CASES)("for $name match central differences", async ({ task, terms, couple = false }) => {
    const path = await makeFloatModel(folder, spec);
    using model = openModel(path, { withOriginal: true });
    // Away from the original gates, where distillation and trust have no slope.
    const gates = model.originalGates.map((gate, layer) =>
      gate.map((weight, i) => weight + 0.1 * Math.sin(i * 7 + layer)),
    );
    const { ids } = model.logits(SEQUENCES, gates);
    const own = frozenTerms(terms);
    const loss = (at: readonly Float32Array[], gradients = zeros(gates)): { task: number; byLayer: number[] } => {
      own.start();
      const request: GradientRequest = {
        task,
        stepTargets: TOKENS - SEQUENCES.length,
        stepTokens: TOKENS,
        terms: own.terms,
        strengths: STRENGTHS,
        couple,
        ids,
      };
      const { crossEntropy, divergence, targets } = model.gradients(SEQUENCES, at, request, gradients);
      const tasks = task.crossEntropy * crossEntropy + task.distillation * divergence;
      return { task: tasks / targets, byLayer: own.byLayer.map((sum) => sum / TOKENS / gates.length) };
    };
    const gradients = zeros(gates);
    loss(gates, gradients);
    for (const [layer, gradient] of gradients.entries()) {
      for (const direction of directions(gradient)) {
        const along = (step: number): number => {
          const moved = gates.map((gate, l) => (l === layer ? gate.map((w, i) => w + step * direction[i]) : gate));
          const { task: whole, byLayer } = loss(moved);
          // Without coupling a gate answers for its own layer's terms alone.
          return whole + (couple ? byLayer.reduce((a, b) => a + b, 0) : (byLayer[layer] ?? 0));
        };
        const expected = gradient.reduce((sum, slope, i) => sum + slope * direction[i], 0);
        expect(relativeGap(slopeOf(along), expected)).toBeLessThan(1e-3);
      }
    }
  });
});

const STRENGTHS = {
  ...{ trust: 0.7, locality: 1 },
  popularity: Array.from({ length: 2 }, (_, layer) =>
    Float32Array.from({ length: 8 }, (_, e) => 0.05 * (e + layer + 1)),
  ),
};

/** Terms whose reference logits stay those of the first call, as no gradient flows through them. */
function frozenTerms(options: LocalityTermsOptions | undefined) {
  const byLayer: number[] = [];
  const frozen = new Map<string, Float32Array>();
  let calls = 0;
  if (options === undefined) return { terms: undefined, byLayer, start: () => {} };
  const real = localityTerms(options);
  const weights: Record<string, number> = { ...(options.weights ?? START_WEIGHTS) };
  if (options.weights === undefined) weights.trust = STRENGTHS.trust;
  const terms: RouterTerms = (input) => {
    const key = `${input.layer} ${calls++}`;
    const referenceLogits = frozen.get(key) ?? input.referenceLogits.slice();
    frozen.set(key, referenceLogits);
    const strengths = { ...STRENGTHS, trust: weights.trust };
    const result = real({ ...input, referenceLogits, strengths });
    const total = Object.entries(result.losses).reduce((sum, [name, value]) => sum + weights[name] * value, 0);
    byLayer[input.layer] = (byLayer[input.layer] ?? 0) + total * input.tokens;
    return result;
  };
  const start = () => {
    calls = 0;
    byLayer.fill(0);
  };
  return { terms, byLayer, start };
}

const zeros = (gates: readonly Float32Array[]) => gates.map(({ length }) => new Float32Array(length));

/** The gradient's own direction, a part of it, and its largest entry, each of length 1. */
function directions(gradient: Float32Array): Float32Array[] {
  const largest = [...gradient.keys()].sort((a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]));
  const parts = [() => true, (i: number) => (i * 7) % 3 === 0];
  const chosen = [
    ...parts.map((keep) => gradient.map((slope, i) => (keep(i) ? slope : 0))),
    ...largest.slice(0, 1).map((one) => gradient.map((_, i) => (i === one ? 1 : 0))),
  ];
  return chosen.map((direction) => {
    const length = Math.hypot(...direction);
    return direction.map((value) => value / length);
  });
}

/** Fourth order: over these steps the gap was at most 1.4e-4; with 0.05 it was 6e-3, from the function's own curvature. */
function slopeOf(f: (step: number) => number, step = 0.0125): number {
  return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step);
}

function relativeGap(a: number, b: number): number {
  return Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));
}
