/** What is trained on: one sequence of tokens from one document. Where sequences come from is in `sequence-source.ts`. */

export interface TrainingSequence {
  readonly tokens: Int32Array;
  /** Tokens at the start that are a prompt; locality may weigh less there. @default 0 */
  readonly promptTokens?: number | undefined;
  /** Place in a pass over the data, by which it is known again. @default it is new each time */
  readonly place?: number;
}
