/**
 * Tiny models of every trainable architecture with all weights in float32, so that gradients have nothing to do with
 * rounding, and what llama.cpp itself makes of a text with them.
 */

import { feedForward } from "../../../test/tiny-models/feed-forward.ts";
import { makeTinyModel, type TinyModelSpec, tinyModel } from "../../../test/tiny-models/index.ts";
import { f32 } from "../../../test/tiny-models/metadata.ts";
import { shape } from "../../../test/tiny-models/shape.ts";
import { attention, embeddings, type PlannedTensor, vector } from "../../../test/tiny-models/tensors.ts";
import { GgmlType } from "../../gguf/index.ts";
import {
  Batch,
  createContext,
  loadLibraries,
  loadModel,
  registerEvalCallback,
  TENSOR_OFFSET,
} from "../../llama/index.ts";
import { NativeWords } from "../../llama/native-words.ts";

const inFloat32 = (spec: TinyModelSpec): TinyModelSpec => {
  const floats = (tensors: PlannedTensor[]) =>
    tensors.map((tensor): PlannedTensor => ("values" in tensor ? tensor : { ...tensor, type: GgmlType.F32 }));
  return {
    ...spec,
    name: `${spec.name}-f32`,
    block: (layer, s) => floats(spec.block(layer, s)),
    outside: (s) => floats((spec.outside ?? embeddings)(s)),
  };
};

/** The same in two layers and few experts: what central differences can check. */
const small = (spec: TinyModelSpec): TinyModelSpec => ({
  ...spec,
  shape: shape({
    ...spec.shape,
    layers: 2,
    hidden: 32,
    heads: 4,
    kvHeads: spec.name === "olmoe" ? 4 : 2,
    headSize: 8,
    experts: 8,
    expertsUsed: 2,
    expertWidth: 24,
    denseWidth: 24,
    sharedWidth: spec.shape.sharedWidth > 0 ? 16 : 0,
  }),
});

const mixtral = tinyModel("mixtral");

/**
 * A llama model with what few have: frequency factors, linear scaling, biases and a tied head; and with two keys that
 * llama.cpp does not read for this architecture.
 */
const unusualLlama: TinyModelSpec = {
  ...small(mixtral),
  name: "llama-unusual",
  metadata: { "rope.scaling.factor": f32(2), expert_weights_scale: f32(1.5), "attention.scale": f32(0.3) },
  outside: (s) => [...embeddings(s, { tiedDeviation: 0.2 }), vector("rope_freqs.weight", [s.headSize / 2], 1.5, 0.3)],
  block: (layer, s) => [...attention(layer, s, { biases: true, outputBias: true }), ...feedForward(layer, s)],
};

export const FLOAT_MODELS: readonly TinyModelSpec[] = [
  ...["qwen3moe", "olmoe", "qwen2moe", "mixtral"].map((name) => inFloat32(tinyModel(name))),
  inFloat32(unusualLlama),
];

export const SMALL_FLOAT_MODELS: readonly TinyModelSpec[] = [
  ...["qwen3moe", "olmoe", "qwen2moe", "mixtral"].map((name) => inFloat32(small(tinyModel(name)))),
  inFloat32(unusualLlama),
];

export const makeFloatModel = (folder: string, spec: TinyModelSpec): Promise<string> => makeTinyModel(folder, spec);

/** Tokens without meaning, different from one another and from sequence to sequence. */
export const someTokens = (count: number, salt: number): Int32Array =>
  Int32Array.from({ length: count }, (_, i) => 3 + ((i * 37 + salt * 61 + i * i * salt) % 290));

export interface StockForward {
  /** `[tokens][vocabulary]` */
  readonly logits: Float32Array;
  /** By layer, `[tokens][expertsUsed]`. */
  readonly ids: number[][];
}

/** What llama.cpp computes of one sequence, with keys and values in float32 and plain attention. */
export function stockForward(path: string, tokens: Int32Array, layers: number): StockForward {
  const libraries = loadLibraries();
  const words = new NativeWords();
  const ids: number[][] = Array.from({ length: layers }, () => []);
  const nameAt = (tensor: number): string => {
    let name = "";
    for (let i = 0; i < 64; i += 4) {
      const four = words.u32(tensor + TENSOR_OFFSET.name + i);
      for (let shift = 0; shift < 32; shift += 8) {
        const byte = (four >>> shift) & 0xff;
        if (byte === 0) return name;
        name += String.fromCharCode(byte);
      }
    }
    return name;
  };
  const hook = registerEvalCallback((tensor, ask) => {
    const match = /^ffn_moe_topk-(\d+)$/.exec(nameAt(tensor));
    if (match === null || ask) return match !== null || !ask;
    const [used, rows] = [words.u64(tensor + TENSOR_OFFSET.ne), words.u64(tensor + TENSOR_OFFSET.ne + 8)];
    const rowBytes = words.u64(tensor + TENSOR_OFFSET.nb + 8);
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    for (let t = 0; t < rows; t++)
      for (let k = 0; k < used; k++) ids[Number(match[1])].push(words.i32(data + t * rowBytes + k * 4));
    return true;
  });
  try {
    using model = loadModel(libraries, path);
    using context = createContext(model, {
      contextSize: 256,
      maxOutputs: tokens.length,
      typeK: GgmlType.F32,
      typeV: GgmlType.F32,
      flashAttention: "off",
      threads: 1,
      evalCallback: hook.pointer,
    });
    using batch = new Batch({ capacity: tokens.length });
    tokens.forEach((token, i) => {
      batch.add(token, i, 0, true);
    });
    const result = context.decode(batch);
    if (result.status !== "ok") throw new Error(`decode: ${JSON.stringify(result)}`);
    const { size } = model.vocabulary;
    const logits = new Float32Array(tokens.length * size);
    tokens.forEach((_, i) => {
      logits.set(context.logits(i), i * size);
    });
    return { logits, ids };
  } finally {
    hook.release();
  }
}
