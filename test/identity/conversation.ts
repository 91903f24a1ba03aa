/**
 * The fixed script that stock llama.cpp and the engine both follow: several turns, several sequences, single tokens and
 * mixed batches. It records every token and every logit, so that two runs can be compared bit for bit.
 */
import type { Phase } from "../../src/cache/policy.ts";
import { Batch, type Context } from "../../src/llama/index.ts";

/** Something that computes: a `Session`, or stock llama.cpp dressed as one. */
export interface Computer {
  readonly context: Context;
  /** Tokens computed at once at most: kernels differ with it, so both sides have to use the same. */
  readonly microBatchTokens: number;
  feed(tokens: readonly number[] | Int32Array, position: number, sequence?: number): Float32Array;
  decode(batch: Batch, phase: Phase, tokenIds: Int32Array): void;
}

export interface Transcript {
  /** Greedy tokens, in the order in which they were chosen. */
  readonly tokens: readonly number[];
  /** A copy of each row of logits that was asked for. */
  readonly logits: readonly Float32Array[];
}

export interface ConversationLength {
  /** Tokens of the first prompt. */
  readonly promptTokens: number;
  /** Tokens generated in each turn. */
  readonly answerTokens: number;
}

/** Sequences that the conversation uses; a context needs room for as many. */
export const SEQUENCES = 2;

/** `words` are tokens to make prompts of, at least twice `promptTokens`. */
export function converse(
  computer: Computer,
  words: ArrayLike<number>,
  { promptTokens, answerTokens }: ConversationLength,
): Transcript {
  const tokens: number[] = [];
  const logits: Float32Array[] = [];
  const lengths = [0, 0];
  const choose = (row: Float32Array): number => {
    logits.push(row.slice());
    // Broken weights make logits that are no numbers: then any token will do to go on.
    const best = Math.max(0, row.indexOf(row.reduce((a, b) => Math.max(a, b))));
    tokens.push(best);
    return best;
  };
  const say = (said: readonly number[], sequence: number): number => {
    const next = choose(computer.feed(said, lengths[sequence], sequence));
    lengths[sequence] += said.length;
    return next;
  };
  const answer = (sequence: number, first: number): number => {
    let token = first;
    for (let i = 1; i < answerTokens; i++) token = say([token], sequence);
    return token;
  };
  const part = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => words[from + i]);

  const last = answer(0, say(part(0, promptTokens), 0));
  const second = answer(0, say([last, ...part(promptTokens, 9)], 0));
  const other = answer(1, say(part(promptTokens + 9, 13), 1));
  together([
    [second, ...part(2, 2)],
    [other, words[1]],
  ]);
  return { tokens, logits };

  /** Both sequences in one batch, as a server computes them, with logits for the last token of each. */
  function together(starts: readonly (readonly number[])[]): void {
    let next = starts;
    for (let step = 0; step < 4; step++) {
      const all = next.flat();
      // The smallest budgets compute one token at a time.
      if (all.length > computer.microBatchTokens) next = next.map((said, sequence) => [say(said, sequence)]);
      else {
        using batch = new Batch({ capacity: all.length });
        const outputs = next.map((said, sequence) => {
          let index = -1;
          for (const [i, token] of said.entries())
            index = batch.add(token, lengths[sequence]++, sequence, i === said.length - 1);
          return index;
        });
        computer.decode(batch, "decode", Int32Array.from(all));
        next = outputs.map((index) => [choose(computer.context.logits(index))]);
      }
    }
  }
}

/** Index of the first row of logits with a different bit, -1 when there is none. */
export function firstDifference(a: Transcript, b: Transcript): number {
  for (let i = 0; i < Math.max(a.logits.length, b.logits.length); i++) {
    const [x, y] = [a.logits[i], b.logits[i]];
    if (x === undefined || y === undefined || Buffer.compare(bytesOf(x), bytesOf(y)) !== 0) return i;
  }
  return -1;
}

function bytesOf(row: Float32Array): Uint8Array {
  return new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
}
