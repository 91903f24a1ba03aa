/**
 * The model's side of a store of hints. Its calls never wait for the store but for as long as they are told: the model's thread
 * computes synchronously, so answers are fetched when it comes by, and what is to be kept is handed over.
 */
import type { MemoryHints } from "./memory-hints.ts";

/** @param hints in the order of the question's keys; undefined: nothing is known under that key */
export type HintVisitor = (question: number, hints: readonly (Uint8Array | undefined)[]) => void;

export interface HintLink {
  /** Asks for the hints under all keys at once. @returns the question's number */
  ask(keys: readonly Uint8Array[]): number;
  /** Tells all answers that are there, after waiting up to `waitMs` for the first one if there is none. */
  take(waitMs: number, visit: HintVisitor): void;
  /** Hands over one more observation. */
  record(key: Uint8Array, observed: Uint8Array): void;
  /** Why nothing is answered or kept any more; undefined while all is well. */
  readonly problem: string | undefined;
  /** What has come of it, by names of its own. */
  figures(): Readonly<Record<string, number>>;
  /** Everything handed over is kept, if it can be. A second call does nothing. */
  close(): void;
}

/** To a store in the same thread's memory: every question is answered at once. For the simulator and for tests. */
export class InlineLink implements HintLink {
  readonly problem = undefined;
  readonly #store: MemoryHints;
  readonly #answers: { readonly question: number; readonly hints: readonly (Uint8Array | undefined)[] }[] = [];
  #questions = 0;

  constructor(store: MemoryHints) {
    this.#store = store;
  }

  ask(keys: readonly Uint8Array[]): number {
    const question = ++this.#questions;
    this.#answers.push({ question, hints: keys.map((key) => this.#store.get(key)) });
    return question;
  }

  take(_waitMs: number, visit: HintVisitor): void {
    for (const { question, hints } of this.#answers.splice(0)) visit(question, hints);
  }

  record(key: Uint8Array, observed: Uint8Array): void {
    this.#store.observe(key, observed);
  }

  figures(): Readonly<Record<string, number>> {
    const { lookUps, found, recorded, written } = this.#store.stats();
    return { hintLookUps: lookUps, hintsFound: found, hintsRecorded: recorded, hintsWritten: written };
  }

  close(): void {}
}
