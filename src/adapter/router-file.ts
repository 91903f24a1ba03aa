/**
 * Reads tuned routers whatever file they come in: a LoRA adapter, a safetensors file, or another model whose routers differ
 * from the base's. Everything that uses them comes through here, so that all refuse a wrong base in the same way.
 */
import fs from "node:fs";
import { basename } from "node:path";
import { readFileRange } from "../gguf/file-range.ts";
import { openGguf } from "../gguf/index.ts";
import type { TunedGate } from "../tune/router-delta.ts";
import { type BaseModel, readBaseModel, requireSameGates, requireSameShape } from "./base-model.ts";
import { AdapterError } from "./errors.ts";
import { readLoraAdapter } from "./lora-file.ts";
import type { RouterArtifact } from "./router-artifact.ts";
import { readRouterSafetensors } from "./router-safetensors.ts";

const GGUF_MAGIC = "GGUF";

/**
 * @throws AdapterError; GgufError for a damaged file, UnsupportedModelError or TuneError for a model without routers, and the
 *   system's error for a missing file
 */
export function readRouterFile(path: string, base: BaseModel): RouterArtifact {
  if (!isGguf(path)) {
    const artifact = readRouterSafetensors(path, base);
    requireSameGates(path, artifact.delta.layers, base);
    return artifact;
  }
  if (openGguf(path).metadata.optionalString("general.type") !== "adapter") return differenceOf(path, base);
  const artifact = readLoraAdapter(path, base);
  requireSameGates(path, artifact.delta.layers, base);
  return artifact;
}

/** @throws the system's error for a missing file */
export function isGguf(path: string): boolean {
  const bytes = Math.min(GGUF_MAGIC.length, fs.statSync(path).size);
  return readFileRange(path, 0, bytes).toString("latin1") === GGUF_MAGIC;
}

/** The gates of one model as those of the other, tuned. */
function differenceOf(path: string, base: BaseModel): RouterArtifact {
  const tuned = readBaseModel(path);
  requireSameShape(path, tuned, base);
  const layers: TunedGate[] = [];
  for (const [i, { block, sha256, weights, bias }] of tuned.gates.entries()) {
    const own = base.gates[i];
    if (own?.block !== block || (own.bias === undefined) !== (bias === undefined))
      throw new AdapterError("wrong-base", path, `its routers are in other blocks than those of ${base.path}.`);
    if (own.sha256 !== sha256) layers.push({ block, gate: weights, bias, baseSha256: own.sha256 });
  }
  if (layers.length === 0)
    throw new AdapterError("unsupported", path, `its routers are those of ${base.path}: nothing was tuned.`);
  const { architecture, experts, used, width } = base;
  const method = `difference to ${basename(path)}`;
  return { delta: { architecture, experts, used, width, method, layers }, report: {} };
}
