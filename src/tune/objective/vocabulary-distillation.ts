/**
 * Distillation on the vocabulary: KL from the base model's next-token distribution, of which only the most likely tokens are
 * kept, to the tuned model's. What the base gave to all other tokens counts as one token, so that nothing is renormalised.
 */

/** The most likely tokens of the base at one position; 64 of them take 384 bytes with 2-byte log-probabilities. */
export interface BaseTop {
  readonly tokens: Int32Array;
  /** Of the base's distribution at the temperature of the loss, over the whole vocabulary, not of these alone. */
  readonly logProbabilities: Float32Array;
}

/** A base that gave less to all others together said nothing about them: single precision has rounded it away. */
const SMALLEST_REST = 1e-6;
/** What is left of 1 is not exact beyond that. */
const SMALLEST_OWN_REST = 1e-12;

/**
 * tau^2 KL(p_base || p) of one position, in nats, with p = softmax(logits / tau). Adds `weight` times its gradient with
 * respect to the logits to `gradient`.
 * @param logits `[vocabulary]`
 */
export function vocabularyDistillation(
  logits: Float32Array | Float64Array,
  { tokens, logProbabilities }: BaseTop,
  temperature: number,
  weight: number,
  gradient: Float32Array | Float64Array,
): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp((logit - largest) / temperature);
  const logSum = Math.log(sum);
  let baseRest = 1;
  let ownRest = 1;
  let loss = 0;
  for (let i = 0; i < tokens.length; i++) {
    const p = Math.exp(logProbabilities[i]);
    const logOwn = (logits[tokens[i]] - largest) / temperature - logSum;
    baseRest -= p;
    ownRest -= Math.exp(logOwn);
    loss += p * (logProbabilities[i] - logOwn);
  }
  if (baseRest < SMALLEST_REST) baseRest = 0;
  ownRest = Math.max(SMALLEST_OWN_REST, ownRest);
  if (baseRest > 0) loss += baseRest * Math.log(baseRest / ownRest);
  const scale = weight * temperature;
  const restScale = scale * (1 - baseRest / ownRest);
  for (let i = 0; i < logits.length; i++)
    gradient[i] += restScale * Math.exp((logits[i] - largest) / temperature - logSum);
  for (let i = 0; i < tokens.length; i++) {
    const own = Math.exp((logits[tokens[i]] - largest) / temperature - logSum);
    gradient[tokens[i]] += scale * (own - Math.exp(logProbabilities[i])) - restScale * own;
  }
  return temperature ** 2 * loss;
}
