/**
 * What a router's own losses (trust, reuse, smoothness, lags, windows) look like to the trainer: a function of one
 * sequence's logits in one layer that gives loss values and their gradient. The losses themselves are elsewhere.
 */

export interface RouterTermsInput {
  /** Index into the MoE layers. */
  readonly layer: number;
  /** Logits of the trained gate, `[tokens][experts]`. */
  readonly logits: Float32Array;
  /** Logits of the original gate on the same inputs; no gradient flows through them. */
  readonly referenceLogits: Float32Array;
  /** `[tokens][used]`, best first. */
  readonly ids: Int32Array;
  readonly tokens: number;
  readonly experts: number;
  readonly used: number;
  /** Document of each token: pairs of tokens from two documents have no loss. One sequence is one document here. */
  readonly documents: Int32Array;
  /** How many tokens at the start are a prompt. */
  readonly promptTokens: number;
  /** What the terms are to be multiplied with in this step. */
  readonly strengths: TermStrengths;
}

export interface TermStrengths {
  /** lambdaKl, which an adaptive trust budget moves. */
  readonly trust: number;
  /** 0 to 1: warm-up of everything but trust. */
  readonly locality: number;
  /** By layer, 0 to 1: of all but trust and balance, to keep a layer from collapse. @default 1 */
  readonly brakes?: readonly number[];
  /** By layer, `[experts]`: share of recent tokens that chose each. @default not known, and no balance term */
  readonly popularity?: readonly Float32Array[];
}

export interface RouterTermsResult {
  /** Means over the sequence's tokens or pairs before any weight, by name; `trust` is the one that a budget watches. */
  readonly losses: Readonly<Record<string, number>>;
  /** Gradient of the weighted sum, `[tokens][experts]`. */
  readonly dz: Float32Array;
}

export type RouterTerms = (input: RouterTermsInput) => RouterTermsResult;
