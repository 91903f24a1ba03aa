/**
 * Where the bytes of every routed expert lie in a model's files, and which bytes are everything else. This is the map
 * that the memory layer works from; it reads no tensor data and decides nothing about what should be in memory.
 *
 * Streamed are the weights `blk.N.ffn_{gate,up,down,gate_up}_exps.weight`: three dimensions, one slice per expert
 * (llama-arch.cpp; every architecture of v0.5.0 creates them as {in, out, n_expert}). Dense stay their biases and
 * scales (`_exps.bias`, `_exps.scale`, `_exps.input_scale`), shared experts (`_shexp`), Grove's adjugate experts
 * (`_chexps`, picked through another router node), routers (`ffn_gate_inp`, `exp_probs_b`) and layers without experts.
 */
import type { ModelShape } from "../cache/shape.ts";
import { GgufError, UnsupportedModelError } from "./errors.ts";
import { MAX_BLOCKS, MAX_EXPERTS } from "./limits.ts";
import type { GgufFile, GgufTensor } from "./open.ts";

export type ExpertRole = "gate" | "up" | "down" | "gate_up";

/** One tensor that holds one matrix of all experts of a layer, expert by expert. */
export interface ExpertTensor {
  readonly tensorName: string;
  readonly role: ExpertRole;
  /** Index into `GgufFile.shards`. */
  readonly shard: number;
  /** Absolute byte offset of expert 0 in the shard's file; expert e starts at `offset + e * strideBytes`. */
  readonly offset: number;
  /** Bytes of one expert's slice. */
  readonly strideBytes: number;
  readonly experts: number;
}

export interface MoeLayer {
  /** The N of `blk.N`: counts all blocks, dense ones too. The layer's own index is its place in `moeLayers`. */
  readonly blockIndex: number;
  readonly experts: number;
  /** Experts a token uses in this layer. */
  readonly expertsUsed: number;
  /** In the order gate, up, gate_up, down. */
  readonly slices: readonly ExpertTensor[];
  /** Bytes of one expert: the sum of the slices' strides. */
  readonly expertBytes: number;
}

export interface DenseRange {
  readonly shard: number;
  /** Absolute byte offset in the shard's file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface MoeLayout {
  readonly architecture: string;
  /** Blocks of the model, with dense ones and with blocks for multi-token prediction. */
  readonly blockCount: number;
  /** Layers with routed experts, by block. */
  readonly moeLayers: readonly MoeLayer[];
  /** Routed experts of every MoE layer. */
  readonly expertsPerLayer: number;
  /** Experts a token uses in one layer; the largest where layers differ. */
  readonly expertsUsed: number;
  readonly hiddenSize: number;
  /** Bytes of experts one token uses: the sum over layers of experts used x bytes of one. */
  readonly tokenCycleBytes: number;
  /** Bytes of all tensors that are needed and not streamed. */
  readonly denseBytes: number;
  /** Bytes of all streamed tensors. */
  readonly expertBytesTotal: number;
  /**
   * Weights of blocks for multi-token prediction. llama.cpp skips those blocks unless asked (`load_mtp`) and unmaps
   * their part of the file, so these bytes are neither dense nor streamed: there may be no memory to read them into.
   */
  readonly unusedBytes: number;
  /** Where the dense tensors lie, by shard and offset, neighbours merged (padding between them included). */
  readonly denseRanges: readonly DenseRange[];
}

const EXPERT_WEIGHT = /^blk\.(\d{1,4})\.ffn_(gate|up|down|gate_up)_exps\.weight$/;
/** Mixtral files from before April 2024 had one tensor per expert; llama.cpp no longer loads them. */
const OLD_EXPERT_WEIGHT = /^blk\.\d+\.ffn_(gate|up|down)\.\d+\.weight$/;
const BLOCK = /^blk\.(\d{1,4})\./;
const ROLES: readonly ExpertRole[] = ["gate", "up", "gate_up", "down"];

/**
 * @throws UnsupportedModelError if the model has no experts, or has them in a layout that is not streamed.
 * @throws GgufError if a metadata key that llama.cpp needs too is missing or has another type.
 */
export function readMoeLayout(gguf: GgufFile): MoeLayout {
  const { metadata } = gguf;
  const architecture = metadata.string("general.architecture");
  const unsupported = (found: string, advice: string) =>
    new UnsupportedModelError(gguf.path, architecture, found, advice);

  const byBlock = new Map<number, ExpertTensorInfo[]>();
  for (const tensor of gguf.tensors) {
    const match = EXPERT_WEIGHT.exec(tensor.name);
    if (match === null) continue;
    const block = Number(match[1]);
    byBlock.set(block, [...(byBlock.get(block) ?? []), { tensor, role: match[2] as ExpertRole }]);
  }
  if (byBlock.size === 0) {
    const old = gguf.tensors.find(({ name }) => OLD_EXPERT_WEIGHT.test(name));
    throw old === undefined
      ? unsupported(
          "the model has no routed experts (no ffn_*_exps.weight tensors)",
          "warmset helps with Mixture-of-Experts models only; run this one with llama.cpp itself.",
        )
      : unsupported(
          `the experts are stored one tensor each (${old.name}), as before April 2024`,
          "llama.cpp no longer loads such files; download a newer GGUF of the model or convert it again.",
        );
  }

  const blockCount = boundedNumber(gguf, `${architecture}.block_count`, 1, MAX_BLOCKS);
  const experts = boundedNumber(gguf, `${architecture}.expert_count`, 1, MAX_EXPERTS);
  const hiddenSize = boundedNumber(gguf, `${architecture}.embedding_length`, 1, Number.MAX_SAFE_INTEGER);
  const usedPerBlock = metadata.numberOrPerLayer(`${architecture}.expert_used_count`, blockCount);
  // The last blocks of models trained with multi-token prediction (GLM, DeepSeek, Qwen3-Next, ...) are drafts.
  const predictionKey = `${architecture}.nextn_predict_layers`;
  const predictionBlocks = metadata.has(predictionKey) ? boundedNumber(gguf, predictionKey, 0, blockCount) : 0;
  const mainBlocks = blockCount - predictionBlocks;

  const moeLayers: MoeLayer[] = [];
  const expertTensors = new Set<GgufTensor>();
  const unusedTensors = new Set(gguf.tensors.filter(({ name }) => Number(BLOCK.exec(name)?.[1] ?? -1) >= mainBlocks));
  for (const block of [...byBlock.keys()].sort((a, b) => a - b)) {
    const infos = byBlock.get(block)!;
    for (const { tensor } of infos) expertTensors.add(tensor);
    if (block >= blockCount)
      throw unsupported(
        `${infos[0].tensor.name} belongs to a block that the model does not have (block_count is ${blockCount})`,
        "Download or convert the file again.",
      );
    if (block >= mainBlocks) continue;
    const expertsUsed = usedPerBlock[block];
    if (!Number.isInteger(expertsUsed) || expertsUsed < 1 || expertsUsed > experts)
      throw unsupported(
        `block ${block} has ${experts} experts but uses ${expertsUsed} of them per token`,
        `${architecture}.expert_used_count is wrong for this block; convert the file again.`,
      );
    moeLayers.push(moeLayer(block, experts, expertsUsed, infos, unsupported));
  }
  if (moeLayers.length === 0)
    throw unsupported(
      "all its experts are in blocks for multi-token prediction: this is a draft model",
      "Open the model that it drafts for.",
    );

  const notDense = new Set([...expertTensors, ...unusedTensors]);
  const dense = gguf.tensors.filter((tensor) => !notDense.has(tensor));
  return {
    architecture,
    blockCount,
    moeLayers,
    expertsPerLayer: experts,
    expertsUsed: Math.max(...moeLayers.map((layer) => layer.expertsUsed)),
    hiddenSize,
    tokenCycleBytes: sum(moeLayers.map((layer) => layer.expertsUsed * layer.expertBytes)),
    denseBytes: sum(dense.map(({ bytes }) => bytes)),
    expertBytesTotal: sum(moeLayers.map((layer) => layer.experts * layer.expertBytes)),
    unusedBytes: sum([...unusedTensors].map(({ bytes }) => bytes)),
    denseRanges: mergedRanges(gguf.tensors, notDense),
  };
}

/** What a policy and the cache need to know of the model. A layer index there is an index into `moeLayers`. */
export function toModelShape(layout: MoeLayout): ModelShape {
  return {
    layers: layout.moeLayers.length,
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    expertBytes: layout.moeLayers.map(({ expertBytes }) => expertBytes),
    hiddenSize: layout.hiddenSize,
  };
}

interface ExpertTensorInfo {
  readonly tensor: GgufTensor;
  readonly role: ExpertRole;
}

function moeLayer(
  blockIndex: number,
  experts: number,
  expertsUsed: number,
  infos: readonly ExpertTensorInfo[],
  unsupported: (found: string, advice: string) => UnsupportedModelError,
): MoeLayer {
  const roles = new Set(infos.map(({ role }) => role));
  if (!roles.has("down") || !(roles.has("up") || roles.has("gate_up")))
    throw unsupported(
      `block ${blockIndex} has expert weights only for ${[...roles].join(" and ")}`,
      "An expert needs at least an up and a down projection; download or convert the file again.",
    );
  const slices = infos
    .map(({ tensor, role }): ExpertTensor => {
      if (tensor.shape.length !== 3 || tensor.shape[2] !== experts || tensor.bytes === 0)
        throw unsupported(
          `${tensor.name} has the shape [${tensor.shape.join(", ")}], not one matrix for each of ${experts} experts`,
          "Only this layout is streamed; if llama.cpp runs the model, please report it.",
        );
      const { name: tensorName, shard, offset, bytes } = tensor;
      return { tensorName, role, shard, offset, strideBytes: bytes / experts, experts };
    })
    .sort((a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role));
  return { blockIndex, experts, expertsUsed, slices, expertBytes: sum(slices.map(({ strideBytes }) => strideBytes)) };
}

function boundedNumber(gguf: GgufFile, key: string, min: number, max: number): number {
  const value = gguf.metadata.number(key);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new GgufError(
      "bad-value",
      gguf.metadata.path,
      gguf.metadata.locate(key)?.offset,
      `${key} is ${value}; a whole number from ${min} to ${max} is needed. Convert the file again.`,
    );
  return value;
}

/** Dense tensors that follow one another in a file become one range; any other tensor between them ends it. */
function mergedRanges(tensors: readonly GgufTensor[], others: ReadonlySet<GgufTensor>): DenseRange[] {
  const ranges: DenseRange[] = [];
  let open = false;
  for (const tensor of tensors) {
    if (tensor.bytes === 0) continue;
    const { shard, offset, bytes } = tensor;
    const last = ranges.at(-1);
    if (others.has(tensor)) open = false;
    else if (open && last !== undefined && last.shard === shard)
      ranges[ranges.length - 1] = { ...last, bytes: offset + bytes - last.offset };
    else {
      ranges.push({ shard, offset, bytes });
      open = true;
    }
  }
  return ranges;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
