/** Types of `trace-questions.mjs` for the tests that use it. */
export interface TraceQuestion {
  /** Name of one of the traces that `makeTraces` makes. */
  readonly trace: string;
  readonly sql: string;
  /** As the document shows it. */
  readonly answer: string;
}
export const QUESTIONS_FILE: string;
export function questionsOf(text: string): TraceQuestion[];
export function makeTraces(folder: string): void;
export function answerOf(folder: string, question: TraceQuestion): string;
