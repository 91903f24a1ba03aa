/**
 * Tiny random models of the Mixture-of-Experts architectures that people run, made on the fly for tests of byte
 * identity. Their weights mean nothing: never conclude anything about routing or caching from them.
 */
import type { TinyModelSpec } from "./definition.ts";
import { DEEPSEEK4_MODELS } from "./families/deepseek4.ts";
import { LATENT_ATTENTION_MODELS } from "./families/latent-attention.ts";
import { LINEAR_ATTENTION_MODELS } from "./families/linear-attention.ts";
import { MAMBA_MODELS } from "./families/mamba.ts";
import { PLAIN_MODELS } from "./families/plain.ts";
import { SHARED_EXPERT_MODELS } from "./families/shared-expert.ts";
import { SLIDING_WINDOW_MODELS } from "./families/sliding-window.ts";
import { UNUSUAL_MODELS } from "./families/unusual-graphs.ts";

export { mixtureBlocks, type TinyModelSpec } from "./definition.ts";
export { makeTinyModel } from "./make.ts";
export { inWholePages } from "./whole-pages.ts";

export const TINY_MODELS: readonly TinyModelSpec[] = [
  ...PLAIN_MODELS,
  ...SHARED_EXPERT_MODELS,
  ...LATENT_ATTENTION_MODELS,
  ...SLIDING_WINDOW_MODELS,
  ...LINEAR_ATTENTION_MODELS,
  ...MAMBA_MODELS,
  ...DEEPSEEK4_MODELS,
  ...UNUSUAL_MODELS,
];

/** @throws RangeError naming the models there are */
export function tinyModel(name: string): TinyModelSpec {
  const spec = TINY_MODELS.find((model) => model.name === name);
  if (spec === undefined) {
    throw new RangeError(
      `There is no tiny model ${name}; there are ${TINY_MODELS.map((model) => model.name).join(", ")}`,
    );
  }
  return spec;
}
