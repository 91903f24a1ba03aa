/**
 * AdamW on float32 master gates, with linear warm-up and clipping by the norm over all gates together. In bfloat16 most
 * steps of the usual rates would round to nothing (arXiv 2605.27081's 5e-5 is below half a unit for weights above 0.016).
 */
import type { Gates } from "./layered-model.ts";

export interface AdamWOptions {
  /** @default 5e-5, the paper's; 1e-3 destroys models */
  readonly learningRate?: number;
  /** Steps over which the rate grows from nothing. @default 200 */
  readonly warmupSteps?: number;
  /** Updates over which it falls to a twentieth along half a cosine. @default it stays */
  readonly decaySteps?: number;
  /** Most length of the gradient of all gates together. @default 1 */
  readonly clipNorm?: number;
  /** @default 0.9 */
  readonly beta1?: number;
  /** @default 0.999 */
  readonly beta2?: number;
  /** @default 1e-8 */
  readonly epsilon?: number;
  /** @default 0 */
  readonly weightDecay?: number;
}

/** Arrays by layer, of the gates' shapes. */
export interface AdamWState {
  /** Updates made. */
  updates: number;
  readonly means: readonly Float32Array[];
  readonly variances: readonly Float32Array[];
}

export interface AdamWUpdate {
  /** Length of the gradient before it was clipped; not finite if no update was made. */
  readonly gradientNorm: number;
  readonly learningRate: number;
}

/** Of the learning rate, behind its decay: what is left of noise in the gates is what the rate was at the end. */
const LAST_SHARE = 0.05;

export function adamWState(gates: Gates): AdamWState {
  const zeros = () => gates.map(({ length }) => new Float32Array(length));
  return { updates: 0, means: zeros(), variances: zeros() };
}

/** Changes `gates` and `state`, unless the gradient has an entry that is not finite. */
export function adamWUpdate(gates: Gates, gradients: Gates, state: AdamWState, options: AdamWOptions): AdamWUpdate {
  const { learningRate = 5e-5, warmupSteps = 200, decaySteps, clipNorm = 1, weightDecay = 0 } = options;
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  let squares = 0;
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) squares += gradient[i] * gradient[i];
  const gradientNorm = Math.sqrt(squares);
  const decay =
    decaySteps === undefined
      ? 1
      : LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, state.updates / decaySteps)));
  const rate = learningRate * decay * Math.min(1, (state.updates + 1) / Math.max(1, warmupSteps));
  if (!Number.isFinite(gradientNorm)) return { gradientNorm, learningRate: rate };
  const scale = gradientNorm > clipNorm ? clipNorm / gradientNorm : 1;
  state.updates++;
  const meanCorrection = 1 - beta1 ** state.updates;
  const varianceCorrection = 1 - beta2 ** state.updates;
  for (const [layer, gate] of gates.entries()) {
    const [gradient, mean, variance] = [gradients[layer], state.means[layer], state.variances[layer]];
    for (let i = 0; i < gate.length; i++) {
      const slope = gradient[i] * scale;
      mean[i] = beta1 * mean[i] + (1 - beta1) * slope;
      variance[i] = beta2 * variance[i] + (1 - beta2) * slope * slope;
      const step = mean[i] / meanCorrection / (Math.sqrt(variance[i] / varianceCorrection) + epsilon);
      gate[i] -= rate * (step + weightDecay * gate[i]);
    }
  }
  return { gradientNorm, learningRate: rate };
}
