/** The routing losses of ReMoE and their gradients; what trains gates imports these. */
export { expertDistribution, type Floats } from "./distribution.ts";
export {
  type LocalityGradient,
  type LocalityOptions,
  localityGradient,
  PAPER_LAGS,
  promptWeights,
  type RoutingLosses,
  type RoutingWeights,
  START_WEIGHTS,
} from "./locality-gradient.ts";
export { type ResidencyTarget, residency } from "./residency.ts";
export { adaptTrustWeight } from "./trust-budget.ts";
export { type BaseTop, vocabularyDistillation } from "./vocabulary-distillation.ts";
