/**
 * Tunes one layer's gate on captured inputs: trust in the frozen gate against locality, by AdamW on the gate alone. There is
 * no loss of the task here; the budget of the trust term is all that guards quality.
 */
import { Randomness } from "../../predict/randomness.ts";
import type { LayerInputs } from "../captured-inputs.ts";
import type { Gate } from "../closed-form/slow-gate.ts";
import { TuneError } from "../errors.ts";
import { collapseFindings, gateMetrics, interpolatedLogits, meanTrustKl } from "../gate-metrics.ts";
import { GateProduct, GateTrainer } from "../gate-product.ts";
import {
  adaptTrustWeight,
  localityGradient,
  promptWeights,
  type ResidencyTarget,
  type RoutingLosses,
  type RoutingWeights,
  START_WEIGHTS,
} from "../objective/index.ts";
import { chooseExperts, type RouterRule } from "../router-forward.ts";

/** Plain data: it goes to worker threads. */
export interface LocalPlan {
  /** delta: mean KL of a layer's distribution from the frozen gate's, nats per token. @default 0.02 */
  readonly trustBudget?: number;
  /** Locality weights, and the trust weight to start with. @default START_WEIGHTS */
  readonly weights?: RoutingWeights;
  /** False keeps the trust weight where it starts, and the gate wherever that leads. @default true */
  readonly adaptTrust?: boolean;
  /** @default 400 */
  readonly steps?: number;
  /** Tokens of a step at least, in whole documents; longer documents are cut. @default 2048 */
  readonly batchTokens?: number;
  /** Of AdamW, as a share of the root mean square of the gate's weights. @default 0.01 */
  readonly relativeRate?: number;
  /** Steps in which the rate and then the locality weights rise to their values. @default 50 */
  readonly warmupSteps?: number;
  /** @default previous token's experts */
  readonly residencyTarget?: ResidencyTarget;
  /** Tokens of a window-entropy block. @default 32 */
  readonly window?: number;
  /** Weight of prompt tokens in the locality terms. @default 0.3 */
  readonly promptWeight?: number;
  /** Of the overlap term, in units of logits. @default 0.15 */
  readonly temperature?: number;
  /** @default 1 */
  readonly seed?: number;
}

export interface TunedLayer {
  readonly gate: Gate;
  /** 1, or less where training had gone too far and the gate lies that far from the frozen one towards the trained one. */
  readonly share: number;
  readonly steps: number;
  /** Steps that were not made because the gradient was not finite. */
  readonly skippedSteps: number;
  /** lambdaKl at the end. */
  readonly trustWeight: number;
  /** Means over the last steps. */
  readonly losses: RoutingLosses;
}

/**
 * The overlap term takes the K largest logits for the chosen experts, which they are not where a bias or groups have a say.
 * @throws TuneError `unsupported-router`
 */
export function requireChoiceByLogits(
  { overlap }: Pick<RoutingWeights, "overlap">,
  rules: readonly Pick<RouterRule, "selectionBias" | "groups">[],
): void {
  if (overlap === 0 || rules.every(({ selectionBias, groups }) => selectionBias === undefined && groups === undefined))
    return;
  throw new TuneError(
    "unsupported-router",
    "The overlap term is not known for routers that choose by groups or with a selection bias. Leave it out of --lambda and give reuse a weight.",
  );
}

/** Norm that gradients are clipped to, as in the paper. */
const CLIP = 1;
/** Steps over which the divergence is averaged before the weight follows it, and by which factor: a tenfold weight is 65 steps. */
const ADAPT_STEPS = 5;
const ADAPT_FACTOR = 1.2;
/** Tokens whose frozen logits are computed at once. */
const REFERENCE_TOKENS = 512;
/** More than so many bad steps in a row are no accident. */
const MOST_SKIPPED = 20;

/**
 * @param base the frozen gate, on whose logits the trust term rests
 * @param start where to begin: the base, a slow gate, or the gate of the sweep before
 * @param onTokens called after each step with its tokens
 * @throws TuneError `too-little-data`, `diverged`
 */
export function tuneLayer(
  inputs: LayerInputs,
  base: Gate,
  start: Gate,
  rule: RouterRule,
  plan: LocalPlan = {},
  onTokens: (tokens: number) => void = () => {},
): TunedLayer {
  const { trustBudget = 0.02, weights = START_WEIGHTS, adaptTrust = true, steps = 400, batchTokens = 2048 } = plan;
  const { relativeRate = 0.01, warmupSteps = 50, residencyTarget, window = 32, promptWeight = 0.3, seed = 1 } = plan;
  const { temperature } = plan;
  const { experts, used, scoring } = rule;
  const pieces = documentPieces(inputs, batchTokens);
  if (pieces.length === 0)
    throw new TuneError(
      "too-little-data",
      "No document has two tokens: there is no reuse to tune for. Capture longer ones.",
    );
  // A batch ends with the piece that fills it.
  const longest = pieces.reduce((most, { from, to }) => Math.max(most, to - from), 0);
  const shape = { width: inputs.width, experts, batchTokens: batchTokens - 1 + longest };
  const reference = new GateProduct({ ...shape, batchTokens: REFERENCE_TOKENS });
  reference.setGate(base.weights);
  const zBase = reference.logits(inputs.hidden, inputs.tokens, base.bias);
  const trainer = new GateTrainer(shape, start.weights, start.bias);
  const rate = relativeRate * rootMeanSquare(base.weights);
  const random = new Randomness(seed, inputs.tokens);
  const order = Int32Array.from(pieces.keys());
  let next = order.length;
  let trustWeight = weights.trust;
  let skipped = 0;
  let skippedInARow = 0;
  let recent: RoutingLosses[] = [];
  let losses = meanLosses([]);
  for (let step = 0; step < steps; step++) {
    const batch: { readonly from: number; readonly to: number }[] = [];
    let tokens = 0;
    while (tokens < batchTokens && batch.length < order.length) {
      if (next === order.length) {
        random.shuffle(order);
        next = 0;
      }
      const piece = pieces[order[next++]];
      batch.push(piece);
      tokens += piece.to - piece.from;
    }
    const rows = gather(inputs, zBase, batch, tokens, experts);
    const z = trainer.logits(rows.hidden, tokens);
    const { losses: own, dz } = localityGradient(
      z,
      rows.zBase,
      chooseExperts(z, tokens, rule),
      { tokens, experts, used },
      rows.documents,
      {
        weights: { ...weights, trust: trustWeight },
        localityScale: Math.min(1, (step + 1) / warmupSteps),
        ...(residencyTarget && { residencyTarget }),
        ...(temperature === undefined ? {} : { temperature }),
        ...{ window, scoring, tokenWeights: promptWeights(rows.phases, promptWeight) },
      },
    );
    // The rate falls to 0 along a half cosine, so that the end is not wherever the last batch pulled.
    const falling = 0.5 * (1 + Math.cos((Math.PI * step) / steps));
    const moved = trainer.step(rows.hidden, dz, tokens, rate * falling * Math.min(1, (step + 1) / warmupSteps), CLIP);
    skippedInARow = moved ? 0 : skippedInARow + 1;
    if (!moved) skipped++;
    if (skippedInARow > MOST_SKIPPED)
      throw new TuneError("diverged", "The losses are no longer numbers. Take a lower rate or weights.");
    if (moved) recent.push(own);
    if (recent.length === ADAPT_STEPS || (step === steps - 1 && recent.length > 0)) {
      losses = meanLosses(recent);
      recent = [];
      if (adaptTrust && step >= warmupSteps)
        trustWeight = adaptTrustWeight(trustWeight, losses.trust, trustBudget, ADAPT_FACTOR);
    }
    onTokens(tokens);
  }
  const tuned = { weights: trainer.gate, bias: trainer.bias };
  const z = trainer.logits(inputs.hidden, inputs.tokens);
  const share = adaptTrust ? allowedShare(z, zBase, inputs, rule, trustBudget) : 1;
  return { gate: between(base, tuned, share), share, steps, skippedSteps: skipped, trustWeight, losses };
}

/** Bytes that tuning one layer takes beside its inputs and their logits. @param longest tokens of the longest document */
export function tuneLayerBytes(
  { width, experts }: { readonly width: number; readonly experts: number },
  longest: number,
  { batchTokens = 2048 }: Pick<LocalPlan, "batchTokens"> = {},
): number {
  const tokens = batchTokens + Math.min(longest, batchTokens);
  // A batch as it is gathered, as it is multiplied and transposed; gates with their gradient and its averages, and copies.
  return 4 * ((3 * tokens + REFERENCE_TOKENS) * (width + experts) + 10 * width * experts);
}

/**
 * How far from the frozen gate towards the tuned one the budget and the guards against collapse allow to go: logits follow
 * the gate in proportion. A nearly even distribution, such as that of many first layers, has a collapse within any budget:
 * a little KL changes most of its choices.
 */
function allowedShare(
  z: Float32Array,
  zBase: Float32Array,
  inputs: LayerInputs,
  rule: RouterRule,
  trustBudget: number,
): number {
  let share = 1;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const kl = meanTrustKl(interpolatedLogits(zBase, z, share), zBase, inputs.tokens, rule);
    if (kl <= BUDGET_TOLERANCE * trustBudget) break;
    // Near the frozen gate the divergence grows with the square.
    share *= Math.sqrt(trustBudget / kl);
  }
  const base = gateMetrics(zBase, zBase, inputs, rule);
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const metrics = gateMetrics(interpolatedLogits(zBase, z, share), zBase, inputs, rule);
    if (collapseFindings(metrics, base).length === 0) break;
    share *= COLLAPSE_STEP;
  }
  return share;
}

/** So many steps go below a tenth of the way. */
const MOST_ROUNDS = 16;
const BUDGET_TOLERANCE = 1.02;
const COLLAPSE_STEP = 0.85;

function between(base: Gate, tuned: Gate, share: number): Gate {
  if (share === 1) return tuned;
  const mixed = (from: Float32Array, to: Float32Array) => from.map((value, i) => value + share * (to[i] - value));
  return { weights: mixed(base.weights, tuned.weights), bias: base.bias && tuned.bias && mixed(base.bias, tuned.bias) };
}

/** Rows of whole documents, or of pieces of long ones; documents of one token have no neighbours. */
function documentPieces({ tokens, documents }: LayerInputs, most: number): { from: number; to: number }[] {
  const pieces: { from: number; to: number }[] = [];
  for (let from = 0, t = 1; t <= tokens; t++) {
    if (t < tokens && documents[t] === documents[t - 1] && t - from < most) continue;
    if (t - from > 1) pieces.push({ from, to: t });
    from = t;
  }
  return pieces;
}

function gather(
  { hidden, width, phases }: LayerInputs,
  zBase: Float32Array,
  batch: readonly { readonly from: number; readonly to: number }[],
  tokens: number,
  experts: number,
) {
  const rows = {
    hidden: new Float32Array(tokens * width),
    zBase: new Float32Array(tokens * experts),
    documents: new Int32Array(tokens),
    phases: new Uint8Array(tokens),
  };
  let row = 0;
  for (const [document, { from, to }] of batch.entries()) {
    rows.hidden.set(hidden.subarray(from * width, to * width), row * width);
    rows.zBase.set(zBase.subarray(from * experts, to * experts), row * experts);
    rows.phases.set(phases.subarray(from, to), row);
    rows.documents.fill(document, row, row + to - from);
    row += to - from;
  }
  return rows;
}

function meanLosses(losses: readonly RoutingLosses[]): RoutingLosses {
  const mean = (term: keyof RoutingLosses) =>
    losses.reduce((sum, own) => sum + own[term], 0) / Math.max(1, losses.length);
  return {
    trust: mean("trust"),
    reuse: mean("reuse"),
    smooth: mean("smooth"),
    lag: mean("lag"),
    windowEntropy: mean("windowEntropy"),
    overlap: mean("overlap"),
    balance: mean("balance"),
  };
}

/** Of weights that are not 0: those of inputs that a file is padded with say nothing of the others' size. */
function rootMeanSquare(values: Float32Array): number {
  const count = values.reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0);
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / Math.max(1, count));
}
