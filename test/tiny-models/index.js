import { DEEPSEEK4_MODELS } from "./families/deepseek4.js";
import { LATENT_ATTENTION_MODELS } from "./families/latent-attention.js";
import { LINEAR_ATTENTION_MODELS } from "./families/linear-attention.js";
import { MAMBA_MODELS } from "./families/mamba.js";
import { PLAIN_MODELS } from "./families/plain.js";
import { SHARED_EXPERT_MODELS } from "./families/shared-expert.js";
import { SLIDING_WINDOW_MODELS } from "./families/sliding-window.js";
import { UNUSUAL_MODELS } from "./families/unusual-graphs.js";

export { mixtureBlocks } from "./definition.js";
export { makeTinyModel } from "./make.js";
export { inWholePages } from "./whole-pages.js";
export const TINY_MODELS = [
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
export function tinyModel(name) {
  const spec = TINY_MODELS.find((model) => model.name === name);
  if (spec === undefined) {
    throw new RangeError(
      `There is no tiny model ${name}; there are ${TINY_MODELS.map((model) => model.name).join(", ")}`,
    );
  }
  return spec;
}
