/**
 * How far one model's predictions lie from another's at the same tokens: KL divergence of the vocabularies, agreement of
 * the likeliest token, and both perplexities. Pure sums over rows of logits; where these come from is not its business.
 */

export interface LogitDriftStatistics {
  readonly tokens: number;
  /** KL(base || other) in nats: mean, 99th percentile and largest over tokens. */
  readonly meanKl: number;
  readonly p99Kl: number;
  readonly maxKl: number;
  /** Share of tokens with the same likeliest next token, 0..1. */
  readonly top1Agreement: number;
  /** exp of the mean negative log-likelihood of the texts' own next tokens. */
  readonly perplexity: number;
  readonly basePerplexity: number;
  /**
   * Standard error of ln(perplexity / basePerplexity), from the differences token by token as if these were independent:
   * a change of less than two of them is noise. 0 with fewer than two tokens.
   */
  readonly lossChangeError: number;
}

export class LogitDrift {
  readonly #kls: number[] = [];
  #agreed = 0;
  #loss = 0;
  #baseLoss = 0;
  #squaredChange = 0;

  /**
   * @param base logits of the reference `[vocabulary]`
   * @param other logits of what is compared with it, same length
   * @param next the token that follows in the text
   */
  add(base: Float32Array, other: Float32Array, next: number): void {
    const b = logNormalizer(base);
    const o = logNormalizer(other);
    let kl = 0;
    for (let i = 0; i < base.length; i++) {
      const logP = base[i] - b.logSum;
      kl += Math.exp(logP) * (logP - (other[i] - o.logSum));
    }
    // Rounding can make the sum for equal rows a little negative.
    this.#kls.push(Math.max(0, kl));
    if (b.best === o.best) this.#agreed++;
    const loss = o.logSum - other[next];
    const baseLoss = b.logSum - base[next];
    this.#loss += loss;
    this.#baseLoss += baseLoss;
    this.#squaredChange += (loss - baseLoss) ** 2;
  }

  statistics(): LogitDriftStatistics {
    const tokens = this.#kls.length;
    const change = (this.#loss - this.#baseLoss) / tokens;
    const variance = tokens < 2 ? 0 : Math.max(0, this.#squaredChange - tokens * change ** 2) / (tokens - 1);
    const sorted = Float64Array.from(this.#kls).sort();
    return {
      tokens,
      meanKl: sorted.reduce((sum, kl) => sum + kl, 0) / tokens,
      p99Kl: sorted[Math.floor(0.99 * (tokens - 1))],
      maxKl: sorted[tokens - 1],
      top1Agreement: this.#agreed / tokens,
      perplexity: Math.exp(this.#loss / tokens),
      basePerplexity: Math.exp(this.#baseLoss / tokens),
      lossChangeError: Math.sqrt(variance / tokens),
    };
  }
}

function logNormalizer(logits: Float32Array): { readonly logSum: number; readonly best: number } {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  const most = logits[best];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - most);
  return { logSum: most + Math.log(sum), best };
}
