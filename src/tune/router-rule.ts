/**
 * How the routers of a model choose and weigh, from its file. How they score is seen in the graph or told by a trace, not
 * guessed from the architecture's name.
 */
import { type GgufFile, type MoeLayout, readFloats } from "../gguf/index.ts";
import type { Scoring } from "../llama/graph-hook.ts";
import type { RouterRule } from "./router-forward.ts";

/**
 * Architectures whose graph has the normalisation built in (argument `norm_w` of `build_moe_ffn` in llama.cpp 0.5.0's
 * src/models); the others go by the file's `expert_weights_norm`.
 */
const ALWAYS_NORMALIZED: ReadonlySet<string> = new Set([
  ...[
    "arctic",
    "dbrx",
    "ernie4_5-moe",
    "gemma4",
    "granite",
    "granite_swa",
    "granitemoe",
    "granitehybrid",
    "grok",
    "grovemoe",
  ],
  ...["hunyuan-moe", "kimi-linear", "lfm2moe", "llama", "maple", "mellum", "mimo2", "minimax-01", "minimax-m2"],
  ...["mistral3", "phimoe", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vlmoe", "rnd1", "smallthinker"],
]);
const NEVER_NORMALIZED: ReadonlySet<string> = new Set([
  ...["deepseek", "gpt-oss", "jamba", "llada-moe", "llama4", "nomic-bert-moe", "olmoe", "qwen2moe"],
]);

/** Architectures that read `expert_weights_scale` (`load_arch_hparams` in llama.cpp 0.5.0's src/models); the others weigh without it. */
const SCALED: ReadonlySet<string> = new Set([
  ...["afmoe", "bailingmoe", "bailingmoe2", "bailingmoe3", "cohere2moe", "deepseek", "deepseek2", "deepseek2-ocr"],
  ...["deepseek32", "deepseek4", "dflash", "dots1", "dots3note", "exaone-moe", "glm-dsa", "glm4moe", "hy_v3", "hy_v4"],
  ...["kimi-k3", "kimi-linear", "laguna", "minimax-m3", "mistral4", "nemotron_h", "nemotron_h_moe", "step35"],
]);

/**
 * By MoE layer.
 * @param scoring as the graph shows it (`RouterStop.scoring`) or the trace says it (`tracedScoring`)
 * @throws GgufError for damaged files
 */
export function readRouterRules(gguf: GgufFile, layout: MoeLayout, scoring: Scoring): RouterRule[] {
  const { metadata } = gguf;
  const { architecture, expertsPerLayer, expertsUsed } = layout;
  const count = metadata.optionalNumber(`${architecture}.expert_group_count`) ?? 0;
  const used = metadata.optionalNumber(`${architecture}.expert_group_used_count`) ?? 0;
  const normalizeWeights =
    ALWAYS_NORMALIZED.has(architecture) ||
    (!NEVER_NORMALIZED.has(architecture) && (metadata.optionalBool(`${architecture}.expert_weights_norm`) ?? false));
  // 0 stands for "not there" in llama.cpp too (llama-graph.cpp:2149).
  const weightScale =
    (SCALED.has(architecture) && metadata.optionalNumber(`${architecture}.expert_weights_scale`)) || 1;
  return layout.moeLayers.map(({ blockIndex }) => {
    const bias = gguf.tensor(`blk.${blockIndex}.exp_probs_b.bias`) ?? gguf.tensor(`blk.${blockIndex}.exp_probs_b`);
    return {
      ...{ experts: expertsPerLayer, used: expertsUsed, scoring, normalizeWeights },
      selectionBias: bias && readFloats(gguf, bias),
      groups: count > 1 ? { count, used } : undefined,
      weightScale,
    };
  });
}

/** What a trace's `model.scoring` says; undefined for null and for what we have never written. */
export function tracedScoring(text: string | null): Scoring | undefined {
  const first = text?.split(",")[0];
  switch (first) {
    case "softmax":
    case "sigmoid":
    case "root of softplus":
      return first;
    case "softmax of the chosen":
      return "logits";
    default:
      return undefined;
  }
}
