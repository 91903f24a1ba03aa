/**
 * What a model's file says about how its layers are wired, for the architectures whose gradients are written out here:
 * grouped-query attention with rotary positions, RMS norms, SwiGLU experts behind a softmax router. A model with anything
 * else, down to a single tensor of unknown meaning, is refused by name before any graph is built.
 */
import { type GgufFile, type GgufTensor, readMoeLayout, UnsupportedModelError } from "../../gguf/index.ts";
import type { Rope } from "../../llama/tensor-graph.ts";
import type { RouterShape } from "./router.ts";

/** Three matrices of a SwiGLU network; of routed experts all of a layer in one tensor. */
export interface SwigluTensors {
  /** `[hidden, width]` */
  readonly gate: GgufTensor;
  /** `[hidden, width]` */
  readonly up: GgufTensor;
  /** `[width, hidden]` */
  readonly down: GgufTensor;
}

export interface LayerTensors {
  readonly block: number;
  readonly attentionNorm: GgufTensor;
  readonly query: GgufTensor;
  readonly key: GgufTensor;
  readonly value: GgufTensor;
  readonly output: GgufTensor;
  readonly queryBias: GgufTensor | undefined;
  readonly keyBias: GgufTensor | undefined;
  readonly valueBias: GgufTensor | undefined;
  readonly outputBias: GgufTensor | undefined;
  readonly queryNorm: GgufTensor | undefined;
  readonly keyNorm: GgufTensor | undefined;
  /** In front of router and experts, which see the same. */
  readonly feedForwardNorm: GgufTensor;
  /** `[hidden, experts]`, float32: what is trained. */
  readonly router: GgufTensor;
  readonly experts: SwigluTensors;
  readonly shared: SharedExpert | undefined;
}

export interface SharedExpert extends SwigluTensors {
  /** `[hidden]`: a sigmoid of its product with the input weighs the shared expert's output. */
  readonly router: GgufTensor;
}

/** Sizes, constants and tensors of a model that can be trained. */
export interface Wiring {
  readonly architecture: string;
  readonly layers: readonly LayerTensors[];
  readonly hidden: number;
  readonly vocabulary: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headSize: number;
  readonly router: RouterShape;
  /** Norms of queries and keys: of each head, or over all heads at once. */
  readonly queryKeyNorms: "none" | "per head" | "all heads";
  readonly rope: Rope;
  /** Factors on the rotary frequencies, `[headSize / 2]`. */
  readonly ropeFactors: GgufTensor | undefined;
  readonly attentionScale: number;
  readonly epsilon: number;
  readonly embedding: GgufTensor;
  readonly outputNorm: GgufTensor;
  /** `[hidden, vocabulary]` */
  readonly head: GgufTensor;
}

interface Family {
  readonly queryKeyNorms: Wiring["queryKeyNorms"];
  readonly ropeMode: Rope["mode"];
  readonly normalisedWeights: boolean;
  readonly sharedExpert: boolean;
}

/** From src/models/<name>.cpp of llama.cpp v0.5.0, rotary modes from `llama_model_rope_type`. */
const FAMILIES: Readonly<Record<string, Family>> = {
  qwen3moe: {
    queryKeyNorms: "per head",
    ropeMode: 2,
    normalisedWeights: true,
    sharedExpert: false,
  },
  olmoe: {
    queryKeyNorms: "all heads",
    ropeMode: 2,
    normalisedWeights: false,
    sharedExpert: false,
  },
  qwen2moe: {
    queryKeyNorms: "none",
    ropeMode: 2,
    normalisedWeights: false,
    sharedExpert: true,
  },
  llama: {
    queryKeyNorms: "none",
    ropeMode: 0,
    normalisedWeights: true,
    sharedExpert: false,
  },
};

/** Architectures that `readWiring` takes. */
export const TRAINABLE_ARCHITECTURES: readonly string[] = Object.keys(FAMILIES);

const ADVICE = "Tune it with --method local or closed-form, which need no gradients through the model.";

/**
 * @throws UnsupportedModelError for another architecture, or a model that has something its architecture normally has not
 * @throws GgufError for a file that llama.cpp would not load either
 */
export function readWiring(gguf: GgufFile): Wiring {
  const { metadata } = gguf;
  const architecture = metadata.string("general.architecture");
  const refuse = (found: string): never => {
    throw new UnsupportedModelError(gguf.path, architecture, found, ADVICE);
  };
  const family = Object.hasOwn(FAMILIES, architecture)
    ? FAMILIES[architecture]
    : refuse(`gradients are written for ${TRAINABLE_ARCHITECTURES.join(", ")} (with experts) only`);
  const layout = readMoeLayout(gguf);
  if (layout.moeLayers.length !== layout.blockCount) refuse("some of its blocks have no routed experts");

  const wanted = new Set<string>();
  const optional = (name: string): GgufTensor | undefined => {
    wanted.add(name);
    return gguf.tensor(name);
  };
  const required = (name: string): GgufTensor => optional(name) ?? refuse(`it has no tensor ${name}`);
  const swiglu = (block: number, suffix: string): SwigluTensors => ({
    gate: required(`blk.${block}.ffn_gate_${suffix}.weight`),
    up: required(`blk.${block}.ffn_up_${suffix}.weight`),
    down: required(`blk.${block}.ffn_down_${suffix}.weight`),
  });
  const layers = layout.moeLayers.map(({ blockIndex: block }): LayerTensors => {
    const at = `blk.${block}`;
    const norms = family.queryKeyNorms === "none" ? () => undefined : required;
    return {
      block,
      attentionNorm: required(`${at}.attn_norm.weight`),
      query: required(`${at}.attn_q.weight`),
      key: required(`${at}.attn_k.weight`),
      value: required(`${at}.attn_v.weight`),
      output: required(`${at}.attn_output.weight`),
      queryBias: optional(`${at}.attn_q.bias`),
      keyBias: optional(`${at}.attn_k.bias`),
      valueBias: optional(`${at}.attn_v.bias`),
      // OLMoE's graph passes no output bias, whatever the file has (src/models/olmoe.cpp, build_attn).
      outputBias: architecture === "olmoe" ? undefined : optional(`${at}.attn_output.bias`),
      queryNorm: norms(`${at}.attn_q_norm.weight`),
      keyNorm: norms(`${at}.attn_k_norm.weight`),
      feedForwardNorm: required(`${at}.ffn_norm.weight`),
      router: required(`${at}.ffn_gate_inp.weight`),
      experts: swiglu(block, "exps"),
      shared: family.sharedExpert
        ? { ...swiglu(block, "shexp"), router: required(`${at}.ffn_gate_inp_shexp.weight`) }
        : undefined,
    };
  });
  const embedding = required("token_embd.weight");
  const head = optional("output.weight") ?? embedding;
  const outputNorm = required("output_norm.weight");
  const ropeFactors = architecture === "llama" ? optional("rope_freqs.weight") : undefined;
  const unknown = gguf.tensors.find(({ name }) => !wanted.has(name));
  if (unknown !== undefined) refuse(`it has a tensor ${unknown.name}, for which no gradient is written`);
  const router = layers.find((layer) => layer.router.typeName !== "f32")?.router;
  if (router !== undefined) refuse(`its router ${router.name} is ${router.typeName}, not f32`);

  const number = (key: string) => metadata.optionalNumber(`${architecture}.${key}`);
  const hidden = layout.hiddenSize;
  const heads = metadata.numberOrPerLayer(`${architecture}.attention.head_count`, layout.blockCount);
  const keyHeads = metadata.has(`${architecture}.attention.head_count_kv`)
    ? metadata.numberOrPerLayer(`${architecture}.attention.head_count_kv`, layout.blockCount)
    : heads;
  if (new Set(heads).size > 1 || new Set(keyHeads).size > 1) refuse("its layers have different numbers of heads");
  const headSize = number("attention.key_length") ?? hidden / heads[0];
  if ((number("attention.value_length") ?? headSize) !== headSize) refuse("its keys and values differ in length");
  if ((number("rope.dimension_count") ?? headSize) !== headSize) refuse("only a part of its heads is rotated");
  if (new Set(layout.moeLayers.map((layer) => layer.expertsUsed)).size > 1)
    refuse("its layers use different numbers of experts");
  return {
    architecture,
    layers,
    hidden,
    vocabulary: head.shape[1],
    heads: heads[0],
    keyHeads: keyHeads[0],
    headSize,
    router: {
      experts: layout.expertsPerLayer,
      used: layout.expertsUsed,
      normalizeWeights: family.normalisedWeights,
    },
    queryKeyNorms: family.queryKeyNorms,
    rope: {
      dimensions: headSize,
      mode: family.ropeMode,
      base: number("rope.freq_base") ?? 10_000,
      scale: ropeScale(gguf, architecture, refuse),
    },
    ropeFactors,
    // These architectures do not read `attention.scale`, nor `expert_weights_scale` (`load_arch_hparams` of each).
    attentionScale: 1 / Math.sqrt(headSize),
    epsilon: metadata.number(`${architecture}.attention.layer_norm_rms_epsilon`),
    embedding,
    outputNorm,
    head,
  };
}

/** llama.cpp takes scaling as linear where a file does not say (src/llama-model.cpp, LLM_KV_ROPE_SCALING_TYPE). */
function ropeScale(gguf: GgufFile, architecture: string, refuse: (found: string) => never): number {
  const { metadata } = gguf;
  const type = metadata.optionalString(`${architecture}.rope.scaling.type`) ?? "linear";
  if (type !== "linear" && type !== "none") refuse(`its rotary positions are scaled by ${type}`);
  if ((metadata.optionalNumber(`${architecture}.rope.scaling.attn_factor`) ?? 1) !== 1)
    refuse("its rotary positions have an attention factor");
  const factor =
    metadata.optionalNumber(`${architecture}.rope.scaling.factor`) ??
    metadata.optionalNumber(`${architecture}.rope.scale_linear`) ??
    0;
  return type === "none" || factor === 0 ? 1 : 1 / factor;
}
