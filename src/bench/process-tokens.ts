/** Greedy tokens from a session in this thread, for the layouts that need no process of its own for the model. */
import { GenerationState, generate } from "../engine/generation.ts";
import { openSession } from "../engine/open-session.ts";
import type { LayoutMessage } from "./process-layouts.ts";

/** Continues `tokens` by `count` more, which it returns. */
export type TokenMaker = (tokens: readonly number[], count: number) => Promise<readonly number[]>;

/** Any tokens do: with everything resident, all of them take the same time. */
export const PROMPT: readonly number[] = [10, 20, 30, 40, 50, 60, 70, 80];

export interface OpenForTokens extends Disposable {
  make(tokens: readonly number[], count: number, onPiece: (text: string) => void): readonly number[];
}

export function openForTokens({ modelPath, threads }: LayoutMessage): OpenForTokens {
  const session = openSession(modelPath, { memory: { kind: "all" }, threads });
  const state = new GenerationState();
  return {
    make(tokens, count, onPiece) {
      const limits = { maxTokens: count, ignoreEndOfGeneration: true };
      const steps = generate(session, state, Int32Array.from(tokens), { temperature: 0 }, limits);
      for (;;) {
        const step = steps.next();
        if (step.done === true) return step.value.tokens;
        onPiece(step.value.text);
      }
    },
    [Symbol.dispose]: () => session.dispose(),
  };
}
