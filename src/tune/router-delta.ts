/**
 * Tuned gates as all modes of tuning make them and all forms of delivery take them: whole matrices by layer, with what they
 * were tuned from. How they lie in files is not here.
 */
import { createHash } from "node:crypto";
import type { GgufFile, MoeLayout } from "../gguf/index.ts";
import { GgmlType, readFloats } from "../gguf/index.ts";
import { TuneError } from "./errors.ts";

/** A gate as it is in the model's file. */
export interface BaseGate {
  /** Number of the block in the file. */
  readonly block: number;
  /** `[experts][width]` */
  readonly weights: Float32Array;
  /** `[experts]`, gpt-oss; undefined for most. */
  readonly bias: Float32Array | undefined;
  /** SHA-256 of the weights' bytes in the file, followed by the bias's. */
  readonly sha256: string;
}

export interface TunedGate {
  readonly block: number;
  /** `[experts][width]` */
  readonly gate: Float32Array;
  /** `[experts]`; undefined where the base has none. */
  readonly bias: Float32Array | undefined;
  /** `BaseGate.sha256` of the gate that it was tuned from. */
  readonly baseSha256: string;
}

export interface RouterDelta {
  readonly architecture: string;
  readonly experts: number;
  /** Experts of a token. */
  readonly used: number;
  /** Inputs of a gate. */
  readonly width: number;
  /** What made it, such as "closed-form". */
  readonly method: string;
  /** Ascending by block. Layers that were not tuned may be missing. */
  readonly layers: readonly TunedGate[];
}

/** By MoE layer. @throws TuneError `unsupported-router`, GgufError */
export function readBaseGates(gguf: GgufFile, layout: MoeLayout): BaseGate[] {
  return layout.moeLayers.map(({ blockIndex: block }) => {
    const name = `blk.${block}.ffn_gate_inp`;
    const tensor = gguf.tensor(`${name}.weight`);
    if (tensor === undefined)
      throw new TuneError("unsupported-router", `${gguf.path} has no ${name}.weight: its routers cannot be tuned.`);
    const biasTensor = gguf.tensor(`${name}.bias`);
    for (const { name, type, typeName } of biasTensor === undefined ? [tensor] : [tensor, biasTensor])
      if (type !== GgmlType.F32)
        throw new TuneError(
          "unsupported-router",
          `${name} of ${gguf.path} is ${typeName.toUpperCase()}, not F32. Tune a file whose routers are F32 (llama.cpp's converter writes them so) and apply the result as an adapter.`,
        );
    const weights = readFloats(gguf, tensor);
    const bias = biasTensor && readFloats(gguf, biasTensor);
    return { block, weights, bias, sha256: gateHash(weights, bias) };
  });
}

export function gateHash(weights: Float32Array, bias: Float32Array | undefined): string {
  const hash = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of bias === undefined ? [weights] : [weights, bias])
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest("hex");
}

/**
 * The gates between the base and the tuned ones: W0 + alpha (W - W0), by layer of the base. 0 is the base bit for bit, 1 the
 * tuned gates; logits change in proportion. Layers that the delta leaves out stay as they are.
 * @throws TuneError `wrong-model` when a layer was tuned from another gate
 */
export function interpolateGates(
  base: readonly BaseGate[],
  { layers }: Pick<RouterDelta, "layers">,
  alpha: number,
): Pick<BaseGate, "block" | "weights" | "bias">[] {
  const tuned = new Map(layers.map((layer) => [layer.block, layer]));
  for (const { block } of layers)
    if (!base.some((gate) => gate.block === block))
      throw new TuneError("wrong-model", `The tuned routers have one for block ${block}, which the model has not.`);
  return base.map(({ block, weights, bias, sha256 }) => {
    const own = tuned.get(block);
    if (own === undefined) return { block, weights, bias };
    if (own.baseSha256 !== sha256 || own.gate.length !== weights.length)
      throw new TuneError(
        "wrong-model",
        `The router of block ${block} was tuned from another one than this model has. Use the model that it was tuned for.`,
      );
    return {
      block,
      weights: between(weights, own.gate, alpha),
      bias: bias && own.bias ? between(bias, own.bias, alpha) : bias,
    };
  });
}

function between(from: Float32Array, to: Float32Array, alpha: number): Float32Array {
  // The sum need not round to the end of the line.
  if (alpha === 1) return to.slice();
  return from.map((value, i) => value + alpha * (to[i] - value));
}
