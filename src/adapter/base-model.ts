/**
 * The model that routers are tuned for, as far as delivering them goes: what a router file must agree with, and the gates
 * that it starts from. Reads headers and gates only.
 */
import { type GgufFile, openGguf, readMoeLayout } from "../gguf/index.ts";
import { type BaseGate, type RouterDelta, readBaseGates } from "../tune/router-delta.ts";
import { AdapterError } from "./errors.ts";

export interface BaseModel {
  readonly path: string;
  readonly gguf: GgufFile;
  readonly architecture: string;
  readonly experts: number;
  /** Experts of a token. */
  readonly used: number;
  /** Inputs of a gate. */
  readonly width: number;
  /** By MoE layer. */
  readonly gates: readonly BaseGate[];
}

/** @throws GgufError, UnsupportedModelError; TuneError `unsupported-router` when a gate is missing or not F32 */
export function readBaseModel(path: string): BaseModel {
  const gguf = openGguf(path);
  const layout = readMoeLayout(gguf);
  const gates = readBaseGates(gguf, layout);
  const { architecture, expertsPerLayer: experts, expertsUsed: used } = layout;
  return { path, gguf, architecture, experts, used, width: gates[0].weights.length / experts, gates };
}

export type RouterShape = Pick<RouterDelta, "architecture" | "experts" | "used" | "width">;

const SIZES = [
  ["architecture", "the architecture"],
  ["experts", "the number of experts of a layer"],
  ["used", "the number of experts of a token"],
  ["width", "the number of a router's inputs"],
] as const;

/** @throws AdapterError `wrong-base` for a file that is of a model of other sizes */
export function requireSameShape(path: string, file: RouterShape, base: BaseModel): void {
  for (const [key, what] of SIZES)
    if (file[key] !== base[key])
      throw new AdapterError(
        "wrong-base",
        path,
        `its routers are of another model: ${what} is ${file[key]}, but ${base[key]} in ${base.path}. Use the model that they were tuned for.`,
      );
}

/** @throws AdapterError `wrong-base` for the first gate that is not the one that was tuned */
export function requireSameGates(
  path: string,
  layers: readonly { readonly block: number; readonly baseSha256: string }[],
  base: BaseModel,
): void {
  const hashes = new Map(base.gates.map(({ block, sha256 }) => [block, sha256]));
  for (const { block, baseSha256 } of layers) {
    const sha256 = hashes.get(block);
    if (sha256 === baseSha256) continue;
    throw new AdapterError(
      "wrong-base",
      path,
      sha256 === undefined
        ? `it has a router for block ${block}, which ${base.path} has not. Use the model that it was tuned for.`
        : `the router of block ${block} was tuned from another one than ${base.path} has. Use the model that it was tuned for, as it was then.`,
    );
  }
}
