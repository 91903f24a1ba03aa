/** A model file in figures: the JSON document of `warmset inspect --json`, and the table that people read. */
import path from "node:path";
import { type GgufTensor, type MoeLayer, openGguf, readMoeLayout } from "../gguf/index.ts";
import { alignColumns, formatBytes, formatCount, formatShare } from "./format.ts";

/** The experts of one layer. */
export interface LayerDescription {
  /** The N of `blk.N`. */
  readonly block: number;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly expertBytes: number;
  /** Type of each matrix of an expert, such as `{gate: "q4_K", up: "q4_K", down: "q6_K"}`. */
  readonly types: Readonly<Record<string, string>>;
}

/** Names and meanings are stable; docs/output.md explains each. */
export interface ModelDescription {
  readonly path: string;
  readonly name: string | null;
  readonly architecture: string;
  /** Blocks of the model, with dense ones. */
  readonly layers: number;
  /** Layers with experts. */
  readonly moeLayers: number;
  /** Experts of a layer. */
  readonly experts: number;
  /** Experts that a token uses in a layer; the largest where layers differ. */
  readonly expertsUsed: number;
  /** Bytes of one expert; the largest where layers differ. */
  readonly expertBytes: number;
  readonly expertBytesTotal: number;
  /** Bytes of experts that one token uses over all layers. */
  readonly tokenCycleBytes: number;
  /** Bytes that every token needs. */
  readonly denseBytes: number;
  /** Expert weights of draft layers (multi-token prediction), which are not loaded. */
  readonly unusedBytes: number;
  /** All files together. */
  readonly fileBytes: number;
  readonly parameters: number;
  /** Parameters that compute one token: everything but the experts that are not chosen. */
  readonly activeParameters: number;
  readonly hiddenSize: number;
  readonly contextLength: number | null;
  readonly vocabularySize: number | null;
  readonly hasChatTemplate: boolean;
  /** Bytes of tensors by type, largest first. */
  readonly bytesByType: Readonly<Record<string, number>>;
  readonly perLayer: readonly LayerDescription[];
  /** More than one for a split model. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
}

/** @throws GgufError, UnsupportedModelError */
export function describeModel(file: string): ModelDescription {
  const gguf = openGguf(file);
  const layout = readMoeLayout(gguf);
  const { metadata, tensors } = gguf;
  const { architecture } = layout;
  const optional = (key: string) => (metadata.has(key) ? metadata.number(key) : null);
  const typeOf = new Map(tensors.map(({ name, typeName }) => [name, typeName]));
  const parameters = elements(tensors);
  return {
    path: gguf.path,
    name: metadata.has("general.name") ? metadata.string("general.name") : null,
    architecture,
    layers: layout.blockCount,
    moeLayers: layout.moeLayers.length,
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    expertBytes: Math.max(...layout.moeLayers.map(({ expertBytes }) => expertBytes)),
    expertBytesTotal: layout.expertBytesTotal,
    tokenCycleBytes: layout.tokenCycleBytes,
    denseBytes: layout.denseBytes,
    unusedBytes: layout.unusedBytes,
    fileBytes: gguf.fileBytes,
    parameters,
    activeParameters: Math.round(parameters - idleParameters(tensors, layout.moeLayers)),
    hiddenSize: layout.hiddenSize,
    contextLength: optional(`${architecture}.context_length`),
    vocabularySize: gguf.tensor("token_embd.weight")?.shape[1] ?? null,
    hasChatTemplate: metadata.has("tokenizer.chat_template"),
    bytesByType: bytesByType(tensors),
    perLayer: layout.moeLayers.map((layer) => ({
      block: layer.blockIndex,
      experts: layer.experts,
      expertsUsed: layer.expertsUsed,
      expertBytes: layer.expertBytes,
      types: Object.fromEntries(
        layer.slices.map(({ role, tensorName }) => [role, typeOf.get(tensorName) ?? "unknown"]),
      ),
    })),
    files: gguf.shards.map(({ path: shard, fileBytes }) => ({ path: shard, bytes: fileBytes })),
  };
}

function elements(tensors: readonly GgufTensor[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}

function idleParameters(tensors: readonly GgufTensor[], layers: readonly MoeLayer[]): number {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return layers.reduce((sum, { slices, experts, expertsUsed }) => {
    const all = elements(slices.map(({ tensorName }) => byName.get(tensorName)!));
    return sum + all * (1 - expertsUsed / experts);
  }, 0);
}

function bytesByType(tensors: readonly GgufTensor[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { typeName, bytes } of tensors) sums.set(typeName, (sums.get(typeName) ?? 0) + bytes);
  return Object.fromEntries([...sums].sort(([, a], [, b]) => b - a));
}

export function modelTable(model: ModelDescription): string {
  const { layers, moeLayers, expertBytesTotal, fileBytes } = model;
  const kinds = layerGroups(model.perLayer);
  const dense = layers - moeLayers;
  const rows: string[][] = [
    ["name", model.name ?? "-"],
    ["architecture", `${model.architecture}, width ${model.hiddenSize}`],
    ["context", model.contextLength === null ? "unknown" : `${model.contextLength} tokens`],
    ["vocabulary", model.vocabularySize === null ? "unknown" : `${model.vocabularySize} tokens`],
    ["chat template", model.hasChatTemplate ? "yes" : "no: use --raw or --chat-template-file"],
    ["parameters", `${formatCount(model.parameters)}, of them ${formatCount(model.activeParameters)} per token`],
    ["layers", `${layers}: ${moeLayers} with experts${dense > 0 ? `, ${dense} without` : ""}`],
    ["experts", `${model.experts} per layer, ${model.expertsUsed} used per token`],
    ["one expert", kinds.length === 1 ? expertText(kinds[0][0]) : `up to ${formatBytes(model.expertBytes)}, see below`],
    ["token cycle", `${formatBytes(model.tokenCycleBytes)}: experts that one token uses over all layers`],
    ["all experts", `${formatBytes(expertBytesTotal)}, ${formatShare(expertBytesTotal / fileBytes)} of the file`],
    ["dense weights", `${formatBytes(model.denseBytes)}: every token needs them, they stay in memory`],
    ...(model.unusedBytes > 0 ? [["draft layers", `${formatBytes(model.unusedBytes)}: not loaded`]] : []),
    ["file", `${formatBytes(fileBytes)}${model.files.length > 1 ? ` in ${model.files.length} files` : ""}`],
    [
      "quantisation",
      Object.entries(model.bytesByType)
        .map(([type, bytes]) => `${type} ${formatBytes(bytes)}`)
        .join(", "),
    ],
  ];
  const parts = [path.basename(model.path), alignColumns(rows)];
  if (kinds.length > 1) parts.push("", "layers with experts", alignColumns(kinds.map(groupRow)));
  if (model.files.length > 1)
    parts.push(
      "",
      "files",
      alignColumns(model.files.map((file) => [path.basename(file.path), formatBytes(file.bytes)])),
    );
  return parts.join("\n");
}

/** Layers that look alike, in the order of their first one. */
function layerGroups(layers: readonly LayerDescription[]): LayerDescription[][] {
  const groups = new Map<string, LayerDescription[]>();
  for (const layer of layers) {
    const { block: _, ...looks } = layer;
    const key = JSON.stringify(looks);
    groups.set(key, [...(groups.get(key) ?? []), layer]);
  }
  return [...groups.values()];
}

function groupRow(group: readonly LayerDescription[]): string[] {
  const [{ experts, expertsUsed }] = group;
  const blocks = ranges(group.map(({ block }) => block));
  return [
    `${group.length > 1 ? "blocks" : "block"} ${blocks}`,
    `${experts} experts, ${expertsUsed} used`,
    expertText(group[0]),
  ];
}

/** "0-5, 8, 11-12" of ascending numbers. */
function ranges(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const n of numbers) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === n - 1) run[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
}

function expertText({ expertBytes, types }: LayerDescription): string {
  const kinds = new Set(Object.values(types));
  const text =
    kinds.size === 1
      ? `${[...kinds][0]} (${Object.keys(types).join(", ")})`
      : Object.entries(types)
          .map(([role, type]) => `${role} ${type}`)
          .join(", ");
  return `${formatBytes(expertBytes)}, ${text}`;
}
