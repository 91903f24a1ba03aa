/**
 * The routers of a model's file, and the norms before them: which tensors they are, and their values for those who compute
 * with them outside llama.cpp. Only what float32 arithmetic on a layer's state needs; biases and groups are not here.
 */
import { GgmlType } from "./ggml-types.ts";
import type { MoeLayout } from "./moe-layout.ts";
import type { GgufFile, GgufTensor } from "./open.ts";
import { readFloats } from "./tensor-data.ts";

/** Of one MoE layer; undefined for what the file has not, or not as float32. */
export interface RouterTensors {
  /** `[hidden, experts]` */
  readonly weights: GgufTensor | undefined;
  /** `[hidden]`; undefined too where the norm adds a bias. */
  readonly norm: GgufTensor | undefined;
}

export interface RouterWeights {
  readonly hiddenSize: number;
  readonly experts: number;
  /** By MoE layer, `[experts][hiddenSize]`. */
  readonly weights: readonly Float32Array[];
  /** By MoE layer, `[hiddenSize]`. */
  readonly norms: readonly (Float32Array | undefined)[];
}

/** By MoE layer. The norm is that in front of the feed-forward part, which some architectures call after what precedes it. */
export function routerTensors(gguf: GgufFile, layout: MoeLayout): RouterTensors[] {
  const float32 = (name: string): GgufTensor | undefined => {
    const tensor = gguf.tensor(name);
    return tensor?.type === GgmlType.F32 ? tensor : undefined;
  };
  const norm = (name: string) => (gguf.tensor(`${name}.bias`) === undefined ? float32(`${name}.weight`) : undefined);
  return layout.moeLayers.map(({ blockIndex }) => ({
    weights: float32(`blk.${blockIndex}.ffn_gate_inp.weight`),
    norm: norm(`blk.${blockIndex}.ffn_norm`) ?? norm(`blk.${blockIndex}.post_attention_norm`),
  }));
}

/** Undefined when a router is not float32 or not of the residual stream's width. @throws GgufError */
export function readRouterWeights(gguf: GgufFile, layout: MoeLayout): RouterWeights | undefined {
  const { hiddenSize, expertsPerLayer: experts } = layout;
  const tensors = routerTensors(gguf, layout);
  const weights: Float32Array[] = [];
  for (const { weights: tensor } of tensors) {
    if (tensor === undefined || tensor.shape[0] !== hiddenSize || tensor.shape[1] !== experts) return undefined;
    weights.push(readFloats(gguf, tensor));
  }
  const norms = tensors.map(({ norm }) =>
    norm === undefined || norm.shape[0] !== hiddenSize ? undefined : readFloats(gguf, norm),
  );
  return { hiddenSize, experts, weights, norms };
}
