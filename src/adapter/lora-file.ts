/**
 * Tuned gates as a LoRA adapter in a GGUF file, which llama.cpp and what is built on it load (`--lora`): the change of each gate
 * as a product `b a`, scaled by the user. llama.cpp checks names and shapes only (llama-adapter.cpp), so the hashes of the
 * gates that it was made for are kept in metadata of our own.
 */
import {
  GgmlType,
  type GgufFile,
  type GgufTensor,
  type MetadataEntry,
  openGguf,
  readFloats,
  writeGguf,
} from "../gguf/index.ts";
import type { TunedGate } from "../tune/router-delta.ts";
import { type BaseModel, requireSameShape } from "./base-model.ts";
import { AdapterError } from "./errors.ts";
import { factorChange, type LowRankFactors } from "./low-rank.ts";
import {
  ARTIFACT_VERSION,
  checkedBlocks,
  parseReport,
  type RouterArtifact,
  requireFinite,
  requireKnownVersion,
} from "./router-artifact.ts";

const KEY = "warmset.router";

export interface WriteLoraOptions {
  /** Rank at most. @default as large as an exact adapter needs */
  readonly rank?: number;
  /** Called after each layer. @default nobody is told */
  readonly onProgress?: (layersDone: number, layersTotal: number) => void;
  /** Ends the writing; nothing is left of it. */
  readonly signal?: AbortSignal;
}

export interface LoraSummary {
  readonly rank: number;
  /** Largest of the layers', 0 for an exact adapter; see `LowRankFactors`. */
  readonly relativeError: number;
}

/**
 * The adapter of scale 1 is the tuned gates; llama.cpp's scale is the trade-off between them and the base.
 * @throws AdapterError `unsupported` when a bias was tuned, which adapters cannot carry; GgufError `unwritable`
 */
export async function writeLoraAdapter(
  path: string,
  { delta, report }: RouterArtifact,
  base: BaseModel,
  options: WriteLoraOptions = {},
): Promise<LoraSummary> {
  const { architecture, experts, used, width, method, layers } = delta;
  const factors: LowRankFactors[] = [];
  for (const [done, layer] of layers.entries()) {
    options.signal?.throwIfAborted();
    factors.push(factorChange(changeOf(path, layer, base), experts, options.rank));
    options.onProgress?.(done + 1, layers.length);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { rank } = factors[0];
  const metadata: MetadataEntry[] = [
    { key: "general.type", type: "string", value: "adapter" },
    { key: "general.architecture", type: "string", value: architecture },
    { key: "general.name", type: "string", value: `routers tuned with ${method}` },
    { key: "adapter.type", type: "string", value: "lora" },
    // The product is multiplied with alpha / rank (llama-adapter.h:53).
    { key: "adapter.lora.alpha", type: "f32", value: rank },
    { key: `${KEY}.version`, type: "u32", value: ARTIFACT_VERSION },
    { key: `${KEY}.experts`, type: "u32", value: experts },
    { key: `${KEY}.used`, type: "u32", value: used },
    { key: `${KEY}.width`, type: "u32", value: width },
    { key: `${KEY}.method`, type: "string", value: method },
    { key: `${KEY}.blocks`, type: "u32[]", value: layers.map(({ block }) => block) },
    { key: `${KEY}.base_sha256`, type: "string[]", value: layers.map(({ baseSha256 }) => baseSha256) },
    { key: `${KEY}.report`, type: "string", value: JSON.stringify(report) },
  ];
  const tensors = layers.flatMap(({ block }, i) => {
    const { a, b } = factors[i];
    const name = gateName(block);
    return [
      { name: `${name}.lora_a`, type: GgmlType.F32, shape: [width, rank], data: bytesOf(a) },
      { name: `${name}.lora_b`, type: GgmlType.F32, shape: [rank, experts], data: bytesOf(b) },
    ];
  });
  await writeGguf(path, { metadata, tensors }, options.signal === undefined ? {} : { signal: options.signal });
  return { rank, relativeError: Math.max(...factors.map(({ relativeError }) => relativeError)) };
}

/**
 * The gates of the base with the adapter at scale 1. Whether they are those that it was made for is not looked at.
 * @throws AdapterError `damaged`, `unsupported`, or `wrong-base` for a model of other sizes; GgufError
 */
export function readLoraAdapter(path: string, base: BaseModel): RouterArtifact {
  const file = openGguf(path);
  const { metadata } = file;
  const type = metadata.optionalString("adapter.type");
  if (type !== "lora") throw new AdapterError("unsupported", path, `it is an adapter of type ${type}, not lora.`);
  if (!metadata.has(`${KEY}.version`))
    throw new AdapterError(
      "unsupported",
      path,
      "this adapter was not made by warmset, so nothing says for which routers. Load it with llama.cpp (--lora) instead.",
    );
  requireKnownVersion(path, metadata.number(`${KEY}.version`));
  const shape = {
    architecture: metadata.string("general.architecture"),
    experts: metadata.number(`${KEY}.experts`),
    used: metadata.number(`${KEY}.used`),
    width: metadata.number(`${KEY}.width`),
  };
  requireSameShape(path, shape, base);
  const blocks = checkedBlocks(path, metadata.numbers(`${KEY}.blocks`), metadata.strings(`${KEY}.base_sha256`));
  const known = new Set(blocks.flatMap(({ block }) => ["a", "b"].map((side) => `${gateName(block)}.lora_${side}`)));
  const stranger = file.tensors.find(({ name }) => !known.has(name));
  if (stranger !== undefined)
    throw new AdapterError(
      "unsupported",
      path,
      `it changes more than routers: ${stranger.name}. Use llama.cpp (--lora).`,
    );
  const alpha = metadata.optionalNumber("adapter.lora.alpha") ?? 0;
  const layers = blocks.map(({ block, baseSha256 }): TunedGate => {
    const own = base.gates.find((gate) => gate.block === block);
    if (own === undefined)
      throw new AdapterError(
        "wrong-base",
        path,
        `it has a router for block ${block}, which ${base.path} has not. Use the model that it was tuned for.`,
      );
    const gate = own.weights.slice();
    addProduct(path, file, block, alpha, base, gate);
    requireFinite(path, block, gate);
    return { block, gate, bias: own.bias, baseSha256 };
  });
  return {
    delta: { ...shape, method: metadata.optionalString(`${KEY}.method`) ?? "", layers },
    report: parseReport(metadata.optionalString(`${KEY}.report`)),
  };
}

function gateName(block: number): string {
  return `blk.${block}.ffn_gate_inp.weight`;
}

function changeOf(path: string, { block, gate, bias }: TunedGate, base: BaseModel): Float32Array {
  const own = base.gates.find((candidate) => candidate.block === block);
  if (own === undefined) throw new RangeError(`Block ${block} has no gate in ${base.path}`);
  if (bias?.some((value, expert) => value !== own.bias?.[expert]))
    throw new AdapterError(
      "unsupported",
      path,
      `the router of block ${block} has a tuned bias, which a LoRA adapter cannot carry. Write a .safetensors file, or patch the model.`,
    );
  return gate.map((value, i) => value - own.weights[i]);
}

/** Adds `alpha / rank * b a` to the gate. */
function addProduct(
  path: string,
  file: GgufFile,
  block: number,
  alpha: number,
  { experts, width }: BaseModel,
  gate: Float32Array,
): void {
  const name = gateName(block);
  const [a, b] = [file.tensor(`${name}.lora_a`), file.tensor(`${name}.lora_b`)];
  const rank = a?.shape[1] ?? 0;
  const fits = (tensor: GgufTensor | undefined, shape: readonly number[]) =>
    tensor?.type === GgmlType.F32 &&
    tensor.shape.length === 2 &&
    shape.every((length, i) => tensor.shape[i] === length);
  if (a === undefined || b === undefined || rank === 0 || !fits(a, [width, rank]) || !fits(b, [rank, experts]))
    throw new AdapterError(
      "damaged",
      path,
      `${name}.lora_a and .lora_b are missing, or not F32 matrices that make one of ${experts} x ${width}.`,
    );
  const [left, right] = [readFloats(file, b), readFloats(file, a)];
  const scale = alpha === 0 ? 1 : alpha / rank;
  const row = new Float64Array(width);
  for (let expert = 0; expert < experts; expert++) {
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = left[expert * rank + k];
      // One of the matrices of an exact adapter is nearly all zeros.
      if (factor !== 0) for (let i = 0; i < width; i++) row[i] += factor * right[k * width + i];
    }
    for (let i = 0; i < width; i++) gate[expert * width + i] += scale * row[i];
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
