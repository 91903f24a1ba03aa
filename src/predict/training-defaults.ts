/** How a predictor is trained unless somebody says otherwise; apart, so that a command line can tell it without the rest. */
export const TRAINING_DEFAULTS = {
  width: 256,
  stride: 0,
  window: 1,
  epochs: 10,
  learningRate: 0.003,
  maxTokens: 200_000,
} as const;
