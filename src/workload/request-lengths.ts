/** How long prompts and answers are where a study fixes them, as FineMoE does by the means of its two data sets. */

export interface RequestLengths {
  /** Tokens of a prompt at most. */
  readonly promptTokens: number;
  /** Tokens of every answer. */
  readonly outputTokens: number;
}

/** FineMoE's section 6.2. */
export const REQUEST_LENGTHS = {
  lmsys: { promptTokens: 37, outputTokens: 127 },
  sharegpt: { promptTokens: 43, outputTokens: 122 },
} as const satisfies Readonly<Record<string, RequestLengths>>;
