/**
 * Tuned routers in the place of the model's own while it runs. The file is not touched, nor the memory it is mapped to: pages of
 * experts that are read again would bring the old values back where they share a page. The tensors are pointed at memory
 * of their own instead.
 */
import { createHash } from "node:crypto";
import { readBaseModel, readRouterFile, scaledGates } from "../adapter/index.ts";
import type { Model } from "../llama/index.ts";
import { moveWeights } from "../llama/model-tensor.ts";
import { releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { gateHash } from "../tune/router-delta.ts";

export interface RouterOption {
  /** An adapter, a safetensors file, or a model whose routers are to be used. */
  readonly path: string;
  /** W0 + scale (W - W0); 0 is the model's own routers bit for bit. @default 1 */
  readonly scale?: number;
}

export interface RouterOverride {
  /** By block: where the gate that is used now lies. Empty with a scale of 0. */
  readonly addresses: ReadonlyMap<number, number>;
  /** A sentence for the user. */
  readonly note: string;
  /** To be called once nothing computes with the model any more. */
  release(): void;
}

/** What tells these routers from others, whatever file they are in; undefined for the model's own. @throws as `overrideRouters` */
export function routersHash(modelPath: string, { path, scale = 1 }: RouterOption): string | undefined {
  if (scale === 0) return undefined;
  const hash = createHash("sha256").update(String(scale));
  for (const { block, gate, bias } of readRouterFile(path, readBaseModel(modelPath)).delta.layers)
    hash.update(`;${block}:${gateHash(gate, bias)}`);
  return hash.digest("hex");
}

/** @throws AdapterError, GgufError, TuneError for routers that cannot be used with this model */
export function overrideRouters(model: Model, modelPath: string, { path, scale = 1 }: RouterOption): RouterOverride {
  const base = readBaseModel(modelPath);
  const artifact = readRouterFile(path, base);
  const { layers } = artifact.delta;
  const note = `Routers of ${layers.length} layers are those of ${path} at scale ${scale}.`;
  if (scale === 0) return { addresses: new Map(), note, release: () => {} };
  const gates = scaledGates(base, artifact, scale);
  const floats = gates.reduce((sum, { weights, bias }) => sum + weights.length + (bias?.length ?? 0), 0);
  const address = reserveMemory(floats * 4);
  const values = new Float32Array(viewMemory(address, floats * 4));
  const addresses = new Map<number, number>();
  let used = 0;
  const place = (name: string, data: Float32Array): number => {
    const at = address + used * 4;
    values.set(data, used);
    moveWeights(model, name, at, data.length);
    used += data.length;
    return at;
  };
  for (const { block, weights, bias } of gates) {
    addresses.set(block, place(`blk.${block}.ffn_gate_inp.weight`, weights));
    if (bias !== undefined) place(`blk.${block}.ffn_gate_inp.bias`, bias);
  }
  return { addresses, note, release: () => releaseMemory(address, floats * 4) };
}
