/**
 * Puts tuned gates into a model's own file, in place, and takes them out again. The reverse patch (the old gates and the new
 * ones) is on the disk before the first byte of the model is overwritten, so that an interrupted patch can be finished or
 * undone with it, and a file that is anything else than old or new is left alone.
 */
import fs from "node:fs";
import { gateHash, interpolateGates, type RouterDelta } from "../tune/router-delta.ts";
import { type BaseModel, readBaseModel } from "./base-model.ts";
import { AdapterError } from "./errors.ts";
import { type PatchState, patchState, sameGates } from "./patch-state.ts";
import type { GateValues, RouterArtifact } from "./router-artifact.ts";
import { readRouterFile } from "./router-file.ts";
import { readRouterSafetensors, writeRouterSafetensors } from "./router-safetensors.ts";

export interface PatchOptions {
  /** Where the reverse patch is kept. */
  readonly reversePath: string;
  /** W0 + scale (W - W0). @default 1 */
  readonly scale?: number;
}

export interface PatchSummary {
  /** Layers that the patch is about. */
  readonly layers: number;
  /** What the file was before. "new": nothing was written. */
  readonly before: Exclude<PatchState, "foreign">;
}

/** The reverse patch of a model, unless another name is given. */
export function reversePatchPath(modelPath: string): string {
  return `${modelPath}.reverse.safetensors`;
}

/**
 * Patches the model with the routers of `routerPath`, or finishes a patch with them that was interrupted.
 * @throws AdapterError `wrong-base` for routers of another model and `half-patched` when another patch is in the file, with
 *   no byte written; GgufError and system errors
 */
export async function patchModel(modelPath: string, routerPath: string, options: PatchOptions): Promise<PatchSummary> {
  const { reversePath, scale = 1 } = options;
  const model = readBaseModel(modelPath);
  const journal = fs.existsSync(reversePath) ? readReversePatch(reversePath, model) : undefined;
  // What the routers were tuned from: the file's gates, or where a patch is under way those it began with.
  const started = journal !== undefined && stateOf(model, journal) !== "old";
  const base = started ? withGates(model, originals(journal)) : model;
  const artifact = readRouterFile(routerPath, base);
  const target = scaledGates(base, artifact, scale);
  if (!started) {
    await writeRouterSafetensors(reversePath, reverseOf(base, artifact, target));
    overwriteGates(model, target);
    return { layers: target.length, before: "old" };
  }
  if (!sameGates(target, journal.replaced))
    throw new AdapterError(
      "half-patched",
      modelPath,
      `other routers than these were put into it; ${reversePath} takes them out: warmset tune export REVERSE MODEL --in-place.`,
    );
  const before = stateOf(model, journal);
  if (before === "between") overwriteGates(model, target);
  return { layers: target.length, before };
}

/**
 * Puts back what a patch replaced, also one that was interrupted.
 * @throws AdapterError `wrong-base` when the file's gates are not what the patch left, with no byte written
 */
export function reversePatch(modelPath: string, reversePath: string): PatchSummary {
  const model = readBaseModel(modelPath);
  const journal = readReversePatch(reversePath, model);
  const forward = stateOf(model, journal);
  const before = forward === "old" ? "new" : forward === "new" ? "old" : forward;
  if (before !== "new") overwriteGates(model, originals(journal));
  return { layers: journal.delta.layers.length, before };
}

type ReversePatch = RouterArtifact & { readonly replaced: readonly GateValues[] };

function readReversePatch(path: string, model: BaseModel): ReversePatch {
  const { replaced, ...artifact } = readRouterSafetensors(path, model);
  if (replaced === undefined)
    throw new AdapterError("unsupported", path, "these are routers, but no reverse patch. Give another name for it.");
  for (const [i, { block, baseSha256 }] of artifact.delta.layers.entries())
    if (gateHash(replaced[i].weights, replaced[i].bias) !== baseSha256)
      throw new AdapterError("damaged", path, `the router of block ${block} is not what its hash says.`);
  return { ...artifact, replaced };
}

/** As seen by the patch: "old" is without it. */
function stateOf(model: BaseModel, journal: ReversePatch): Exclude<PatchState, "foreign"> {
  const found = originals(journal).map(({ block }) => {
    const gate = model.gates.find((candidate) => candidate.block === block);
    if (gate === undefined) throw foreign(model, block);
    return gate;
  });
  const state = patchState(found, originals(journal), journal.replaced);
  if (state === "foreign") throw foreign(model);
  return state;
}

function foreign({ path }: BaseModel, block?: number): AdapterError {
  return new AdapterError(
    "wrong-base",
    path,
    `its routers${block === undefined ? "" : ` (block ${block})`} are neither those before nor those after this patch. ` +
      "It is the patch of another model, or the file was changed by something else: give the right one, or move it away.",
  );
}

function originals({ delta }: RouterArtifact): GateValues[] {
  return delta.layers.map(({ block, gate, bias }) => ({ block, weights: gate, bias }));
}

function withGates(model: BaseModel, gates: readonly GateValues[]): BaseModel {
  const given = new Map(gates.map((gate) => [gate.block, gate]));
  return {
    ...model,
    gates: model.gates.map((gate) => {
      const { weights, bias } = given.get(gate.block) ?? gate;
      return { block: gate.block, weights, bias, sha256: gateHash(weights, bias) };
    }),
  };
}

/** Of the tuned layers alone. */
export function scaledGates(base: BaseModel, { delta }: RouterArtifact, scale: number): GateValues[] {
  const tuned = new Set(delta.layers.map(({ block }) => block));
  return interpolateGates(base.gates, delta, scale).filter(({ block }) => tuned.has(block));
}

function reverseOf(base: BaseModel, { delta, report }: RouterArtifact, target: readonly GateValues[]): RouterArtifact {
  const layers: RouterDelta["layers"] = target.map(({ block, weights, bias }) => {
    const own = base.gates.find((gate) => gate.block === block) as (typeof base.gates)[number];
    return { block, gate: own.weights, bias: own.bias, baseSha256: gateHash(weights, bias) };
  });
  return { delta: { ...delta, method: `reverse of ${delta.method}`, layers }, report, replaced: target };
}

/** In place, and synced when it returns. */
function overwriteGates({ gguf }: BaseModel, gates: readonly GateValues[]): void {
  const parts = gates.flatMap(({ block, weights, bias }) => {
    const name = `blk.${block}.ffn_gate_inp`;
    const both = [{ tensor: gguf.tensor(`${name}.weight`), values: weights }];
    return bias === undefined ? both : [...both, { tensor: gguf.tensor(`${name}.bias`), values: bias }];
  });
  for (const [shard, { path }] of gguf.shards.entries()) {
    const own = parts.filter(({ tensor }) => tensor?.shard === shard);
    if (own.length === 0) continue;
    const file = fs.openSync(path, "r+");
    try {
      for (const { tensor, values } of own) {
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        for (let done = 0; done < bytes.length; )
          done += fs.writeSync(file, bytes, done, bytes.length - done, (tensor?.offset ?? 0) + done);
      }
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
  }
}
