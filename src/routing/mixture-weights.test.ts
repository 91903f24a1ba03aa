/** That a graph makes the weights of experts chosen by us from the router's own scores, with its normalisation and scale. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import type { Scoring } from "../llama/graph-hook.ts";
import { Batch, createContext, loadLibraries, loadModel, registerEvalCallback, TENSOR_OFFSET } from "../llama/index.ts";
import { NativeWords } from "../llama/native-words.ts";
import { weighExperts } from "../tune/router-forward.ts";
import { readRouterRules } from "../tune/router-rule.ts";

const folder = mkdtempSync(join(tmpdir(), "weights-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Weighed {
  readonly block: number;
  /** What the weights are gathered from. */
  readonly scores: Float64Array;
  readonly chosen: Int32Array;
  readonly weights: Float64Array;
}

/** Decodes a token and at each router puts the experts in places 1 to K of its order in those of 0 to K - 1. */
function decodeShifted(path: string): Weighed[] {
  const libraries = loadLibraries();
  using model = loadModel(libraries, path);
  const words = new NativeWords();
  const experts = readMoeLayout(openGguf(path)).expertsPerLayer;
  const seen = new Map<number, { scores?: Float64Array; chosen?: Int32Array; weights?: Float64Array }>();
  const probabilities = new Map<number, number>();
  const nameOf = (tensor: number): string => {
    let name = "";
    for (let at = tensor + TENSOR_OFFSET.name; ; at++) {
      const byte = (words.u32(at - (at % 4)) >>> (8 * (at % 4))) & 0xff;
      if (byte === 0) return name;
      name += String.fromCharCode(byte);
    }
  };
  const hook = registerEvalCallback((tensor, ask) => {
    const [, kind, block] = /^ffn_moe_(topk|probs|weights\w*)-(\d+)$/.exec(nameOf(tensor)) ?? [];
    if (kind === undefined) return !ask;
    const layer = seen.get(Number(block)) ?? {};
    seen.set(Number(block), layer);
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    if (ask) {
      if (kind === "probs") probabilities.set(Number(block), tensor);
      return kind !== "probs";
    }
    if (kind === "topk") {
      const used = words.u64(tensor + TENSOR_OFFSET.ne);
      const from = words.u64((probabilities.get(Number(block)) as number) + TENSOR_OFFSET.data);
      layer.scores = Float64Array.from({ length: experts }, (_, e) => words.f32(from + 4 * e));
      // The list goes on behind the choice.
      layer.chosen = Int32Array.from({ length: used }, (_, rank) => words.i32(data + 4 * (rank + 1)));
      for (const [rank, expert] of layer.chosen.entries()) words.setI32(data + 4 * rank, expert);
    } else if (words.u64(tensor + TENSOR_OFFSET.ne) * words.u64(tensor + TENSOR_OFFSET.ne + 8) === layer.chosen?.length)
      layer.weights = Float64Array.from(layer.chosen, (_, rank) => words.f32(data + 4 * rank));
    return true;
  });
  try {
    using context = createContext(model, { contextSize: 256, threads: 1, evalCallback: hook.pointer });
    using batch = new Batch({ capacity: 1 });
    batch.add(17, 0, 0, true);
    expect(context.decode(batch).status).toBe("ok");
    context.dispose();
  } finally {
    hook.release();
  }
  return [...seen].map(([block, layer]) => ({ block, ...layer }) as Weighed);
}

test.each<[string, Scoring]>([
  ["mixtral", "softmax"],
  ["olmoe", "softmax"],
  ["qwen3moe-scaled", "softmax"],
  ["deepseek2-lite", "softmax"],
  ["ernie4_5-moe", "softmax"],
  ["gpt-oss", "logits"],
  ["deepseek2", "sigmoid"],
  ["bailingmoe2", "sigmoid"],
  ["minimax-m2", "sigmoid"],
  ["glm4moe", "sigmoid"],
  ["llama4", "sigmoid"],
])("%s (%s)", async (name, scoring) => {
  const path = await makeTinyModel(folder, tinyModel(name));
  const gguf = openGguf(path);
  const layout = readMoeLayout(gguf);
  const rules = readRouterRules(gguf, layout, scoring);
  const weighed = decodeShifted(path);
  expect(weighed.map(({ block }) => block)).toEqual(layout.moeLayers.map(({ blockIndex }) => blockIndex));
  for (const [layer, { scores, chosen, weights }] of weighed.entries()) {
    const expected = new Float32Array(chosen.length);
    weighExperts(scores, chosen, rules[layer], expected);
    for (const [rank, weight] of expected.entries()) expect(weights[rank]).toBeCloseTo(weight, 6);
  }
});
