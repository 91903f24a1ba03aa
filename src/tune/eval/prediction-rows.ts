/**
 * A model's predictions of the tokens of some documents, kept as logits, and others held against them: loss, KL of the next
 * token's distribution, agreement of the likeliest. One row per token; where rows come from is not its business.
 */
import { BaseLogits } from "../../routing/base-logits.ts";

/** One prediction against the reference's at the same token. */
export interface ComparedPrediction {
  /** Of the text's own next token, nats. */
  loss: number;
  /** KL(reference || this), nats. */
  kl: number;
  sameTop: boolean;
}

export class PredictionRows implements Disposable {
  readonly #logits: BaseLogits;
  readonly #logSums: number[] = [];
  readonly #tops: number[] = [];

  /** @param folder where the rows are, 4 bytes x vocabulary each. @default the system's folder for temporary files */
  constructor(vocabulary: number, folder?: string) {
    this.#logits = new BaseLogits(vocabulary, folder);
  }

  /** Keeps a row of the reference, and returns the loss of the true next token. */
  keep(logits: Float32Array, next: number): number {
    const top = largest(logits);
    const logSum = logSumOf(logits, logits[top]);
    this.#logits.append(logits);
    this.#logSums.push(logSum);
    this.#tops.push(top);
    return logSum - logits[next];
  }

  /** A row of another model against the `index`-th that was kept. */
  compare(index: number, logits: Float32Array, next: number, into: ComparedPrediction): void {
    const reference = this.#logits.row(index);
    const top = largest(logits);
    const logSum = logSumOf(logits, logits[top]);
    // KL = sum of p (log p - log q) with log p - log q = (reference - logits) - (its log sum - ours).
    const shift = this.#logSums[index] - logSum;
    let kl = 0;
    for (let i = 0; i < logits.length; i++)
      kl += Math.exp(reference[i] - this.#logSums[index]) * (reference[i] - logits[i] - shift);
    into.loss = logSum - logits[next];
    // Rounding can make the sum for equal rows a little negative.
    into.kl = Math.max(0, kl);
    into.sameTop = top === this.#tops[index];
  }

  [Symbol.dispose](): void {
    this.#logits[Symbol.dispose]();
  }
}

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

function logSumOf(logits: Float32Array, most: number): number {
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - most);
  return most + Math.log(sum);
}
