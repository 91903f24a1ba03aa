import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { makeTinyModel, type TinyModelSpec, tinyModel } from "../../test/tiny-models/index.ts";
import { f32 } from "../../test/tiny-models/metadata.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import type { Scoring } from "../llama/graph-hook.ts";
import { Batch, createContext, loadLibraries, loadModel, registerEvalCallback, TENSOR_OFFSET } from "../llama/index.ts";
import { NativeWords } from "../llama/native-words.ts";
import { chooseExperts, type RouterRule, routerScores, routeTokens } from "./router-forward.ts";
import { readRouterRules, tracedScoring } from "./router-rule.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "router-forward-")));
afterAll(() => rmSync(folder, { recursive: true }));

const TOKENS = Int32Array.from({ length: 48 }, (_, i) => 3 + ((i * 37) % 290));

interface LayerDecision {
  logits: Float32Array;
  ids: Int32Array;
  weights: Float32Array;
}

/** What llama.cpp's own graph has at its routers, by block; weights are those that the experts' results are mixed with. */
function engineDecisions(path: string, scoring: Scoring): Map<number, LayerDecision> {
  const libraries = loadLibraries();
  using model = loadModel(libraries, path);
  const words = new NativeWords();
  const decisions = new Map<number, LayerDecision>();
  const name = (tensor: number): string => {
    const bytes: number[] = [];
    for (let i = 0; i < 64; i++) {
      const at = tensor + TENSOR_OFFSET.name + i;
      bytes.push((words.u32(at - (at % 4)) >>> (8 * (at % 4))) & 0xff);
    }
    return Buffer.from(bytes.slice(0, bytes.indexOf(0))).toString("utf8");
  };
  // Logits that are compared as they are have been given the name of what others compare.
  const logits = scoring === "logits" ? "probs" : "logits";
  const node = new RegExp(`^ffn_moe_(${logits}|topk|weights|weights_softmax|weights_norm|weights_scaled)-(\\d+)$`);
  const hook = registerEvalCallback((tensor, ask) => {
    const match = node.exec(name(tensor));
    if (match === null || ask) return match !== null;
    const [, kind, block] = match;
    const at = (field: number) => words.u64(tensor + field);
    const [ne0, ne1, ne2] = [0, 8, 16].map((offset) => at(TENSOR_OFFSET.ne + offset));
    const data = at(TENSOR_OFFSET.data);
    const own = decisions.get(Number(block)) ?? ({} as LayerDecision);
    decisions.set(Number(block), own);
    if (kind === "topk") {
      const rowBytes = at(TENSOR_OFFSET.nb + 8);
      own.ids = Int32Array.from({ length: ne0 * ne1 }, (_, i) =>
        words.i32(data + Math.floor(i / ne0) * rowBytes + (i % ne0) * 4),
      );
    } else {
      const values = new Float32Array(ne0 * ne1 * ne2);
      words.copyFloats(data, values.length, values, 0);
      own[kind === logits ? "logits" : "weights"] = values;
    }
    return true;
  });
  try {
    using context = createContext(model, {
      ...{
        contextSize: 256,
        batchSize: 64,
        microBatchSize: 64,
        threads: 1,
        maxOutputs: 64,
        evalCallback: hook.pointer,
      },
    });
    using batch = new Batch({ capacity: 64 });
    // Without wanting the logits of all tokens the last layer computes only the last of them.
    for (const [i, token] of TOKENS.entries()) batch.add(token, i, 0, true);
    expect(context.decode(batch).status).toBe("ok");
  } finally {
    hook.release();
  }
  return decisions;
}

/** One family for each kind of router there is, and each kind of weights. */
const FAMILIES: Readonly<Record<string, Scoring>> = {
  qwen3moe: "softmax",
  "qwen3moe-scaled": "softmax",
  olmoe: "softmax",
  qwen2moe: "softmax",
  mixtral: "softmax",
  bailingmoe: "softmax",
  gemma4: "softmax",
  "minimax-m2": "sigmoid",
  deepseek2: "sigmoid",
  "hy-v3": "sigmoid",
  llama4: "sigmoid",
  "nemotron-h-moe": "sigmoid",
  deepseek4: "root of softplus",
  "gpt-oss": "logits",
};

describe("as llama.cpp decides", () => {
  test.each(Object.entries(FAMILIES))("%s (%s)", async (family, scoring) => {
    await compare(tinyModel(family), scoring);
  });

  // qwen3moe, olmoe, qwen2moe and llama do not read the scale; bailingmoe does.
  test.each(["qwen3moe", "olmoe", "qwen2moe", "mixtral", "bailingmoe"])(
    "%s with a scale of weights",
    async (family) => {
      const spec = tinyModel(family);
      const metadata = { ...spec.metadata, expert_weights_scale: f32(1.75) };
      await compare({ ...spec, name: `${family}-weights-scale`, metadata }, "softmax");
    },
  );

  async function compare(spec: TinyModelSpec, scoring: Scoring): Promise<void> {
    const path = await makeTinyModel(folder, spec);
    const gguf = openGguf(path);
    const layout = readMoeLayout(gguf);
    const rules = readRouterRules(gguf, layout, scoring);
    const decisions = engineDecisions(path, scoring);
    let compared = 0;
    for (const [layer, { blockIndex }] of layout.moeLayers.entries()) {
      // deepseek4's first layers look their experts up by the token's id.
      if (gguf.tensor(`blk.${blockIndex}.ffn_gate_tid2eid.weight`) !== undefined) continue;
      const engine = decisions.get(blockIndex)!;
      const own = routeTokens(engine.logits, TOKENS.length, rules[layer]);
      expect([...own.ids]).toEqual([...engine.ids]);
      expect(chooseExperts(engine.logits, TOKENS.length, rules[layer])).toEqual(own.ids);
      for (const [i, weight] of engine.weights.entries()) expect(Math.abs(own.weights[i] - weight)).toBeLessThan(1e-5);
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
  }
});

const rule: RouterRule = {
  ...{ experts: 4, used: 2, scoring: "softmax", selectionBias: undefined, groups: undefined },
  ...{ normalizeWeights: true, weightScale: 1 },
};

const logits = fc.array(fc.float({ min: -9, max: 9, noNaN: true }), { minLength: 12, maxLength: 12 });

test("normalisation changes weights and no ids, whatever the scores", () => {
  fc.assert(
    fc.property(
      logits,
      fc.constantFrom<Scoring>("softmax", "sigmoid", "root of softplus", "logits"),
      (values, scoring) => {
        const z = Float32Array.from(values);
        const as = (normalizeWeights: boolean) => routeTokens(z, 3, { ...rule, scoring, normalizeWeights });
        const normalised = as(true);
        expect(as(false).ids).toEqual(normalised.ids);
        // Sums below the smallest F16 are not brought up to 1, as in llama.cpp.
        if (scoring === "softmax" || scoring === "logits")
          for (let t = 0; t < 3; t++)
            expect(normalised.weights[2 * t] + normalised.weights[2 * t + 1]).toBeCloseTo(1, 5);
      },
    ),
  );
  expect(routeTokens(Float32Array.of(1, 0, 0, 0), 1, { ...rule, normalizeWeights: false }).weights[0]).toBeCloseTo(
    Math.E / (Math.E + 3),
    6,
  );
});

test("a bias selects and does not weigh; groups leave out what is not in the best of them", () => {
  const z = Float32Array.of(3, 2, 1, 0);
  const biased = routeTokens(z, 1, { ...rule, scoring: "sigmoid", selectionBias: Float32Array.of(0, 0, 0, 5) });
  expect([...biased.ids]).toEqual([3, 0]);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  expect(biased.weights[0]).toBeCloseTo(sigmoid(0) / (sigmoid(0) + sigmoid(3)), 6);
  const scores = new Float64Array(4);
  routerScores(z, "sigmoid", scores);
  const grouped = routeTokens(Float32Array.of(3, -5, 2, 2), 1, {
    ...{ ...rule, scoring: "sigmoid" },
    groups: { count: 2, used: 1 },
  });
  expect([...grouped.ids]).toEqual([2, 3]);
});

test("scales the weights, and reads what a trace says of the scores", () => {
  const plain = routeTokens(Float32Array.of(3, 2, 1, 0), 1, rule).weights;
  const scaled = routeTokens(Float32Array.of(3, 2, 1, 0), 1, { ...rule, weightScale: 2.5 }).weights;
  for (const [i, weight] of plain.entries()) expect(scaled[i]).toBeCloseTo(2.5 * weight, 6);
  expect(["softmax", "sigmoid, bias, 8 groups", "softmax of the chosen", null, "else"].map(tracedScoring)).toEqual([
    ...["softmax", "sigmoid", "logits", undefined, undefined],
  ]);
});
