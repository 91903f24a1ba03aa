/** What a trace tells of the model that it was recorded from: read from the file's header, without its weights. */
import { createHash } from "node:crypto";
import path from "node:path";
import { hashRange, headerHash } from "../../gguf/header-hash.ts";
import { type GgufFile, openGguf, readMoeLayout } from "../../gguf/index.ts";
import type { Scoring } from "../../llama/graph-hook.ts";
import type { TracedModel } from "../trace.ts";

const TOKENS_KEY = "tokenizer.ggml.tokens";

/** All but the scoring, which only the graph tells. @throws GgufError, UnsupportedModelError */
export function tracedModel(file: string): Omit<TracedModel, "scoring"> {
  const gguf = openGguf(file);
  const layout = readMoeLayout(gguf);
  const { metadata } = gguf;
  return {
    name: metadata.optionalString("general.name") ?? path.parse(gguf.path).name,
    architecture: layout.architecture,
    hash: headerHash(gguf),
    tokenizerHash: tokenizerHash(gguf),
    blocks: layout.blockCount,
    moeBlocks: layout.moeLayers.map(({ blockIndex }) => blockIndex),
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    sharedExperts: sharedExperts(gguf, layout.architecture),
    expertBytes: layout.moeLayers.map(({ expertBytes }) => expertBytes),
    denseBytes: layout.denseBytes,
  };
}

/** Type of the routers' weights, such as "F32"; several when layers differ. */
export function routerTypes(file: string): string {
  const types = openGguf(file)
    .tensors.filter(({ name }) => /^blk\.\d+\.ffn_gate_inp\.weight$/.test(name))
    .map(({ typeName }) => typeName.toUpperCase());
  return [...new Set(types)].join(" and ");
}

/** SHA-256 of the tokens as the file stores them, each with its length in front. */
function tokenizerHash(gguf: GgufFile): string | null {
  const tokens = gguf.metadata.locate(TOKENS_KEY);
  if (tokens === undefined) return null;
  const hash = createHash("sha256");
  hashRange(hash, gguf.metadata.path, tokens.offset, tokens.bytes);
  return hash.digest("hex");
}

/** Files without the count say so by the tensors: Qwen2-MoE has one shared expert and no key for it. */
function sharedExperts({ metadata, tensors }: GgufFile, architecture: string): number {
  if (!tensors.some(({ name }) => name.includes("_shexp."))) return 0;
  return metadata.optionalNumber(`${architecture}.expert_shared_count`) || 1;
}

/**
 * Such as "softmax" or "sigmoid, bias, 8 groups".
 * @param scoring what the graph was seen to do
 */
export function scoringText(file: string, scoring: Scoring): string {
  const { metadata, tensors } = openGguf(file);
  const architecture = metadata.string("general.architecture");
  const groups = metadata.optionalNumber(`${architecture}.expert_group_count`) ?? 0;
  return [
    scoring === "logits" ? "softmax of the chosen" : scoring,
    ...(tensors.some(({ name }) => name.includes(".exp_probs_b")) ? ["bias"] : []),
    ...(groups > 1 ? [`${groups} groups`] : []),
  ].join(", ");
}
