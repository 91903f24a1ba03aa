/**
 * Cuts documents into sequences and deals them out in an order that a seed decides: each pass over the data is a new
 * shuffle. Which sequences a step gets depends on its number alone, so that a resumed run goes on where it was.
 */
import { createHash } from "node:crypto";
import { Randomness } from "../../predict/randomness.ts";
import { TuneError } from "../errors.ts";
import type { TrainingSequence } from "./sequence.ts";

/** Shorter pieces are left out: they have next to no context, and no lag reaches across them. */
const SHORTEST_TOKENS = 8;

export class SequenceSource {
  readonly #sequences: readonly TrainingSequence[];
  readonly #seed: number;
  readonly #orders = new Map<number, Int32Array>();

  /**
   * @param documents whole documents; a prompt's length counts in the first piece, and onwards as far as it reaches
   * @throws TuneError `too-little-data`
   */
  constructor(
    documents: readonly TrainingSequence[],
    options: { readonly sequenceTokens: number; readonly seed: number },
  ) {
    this.#sequences = documents
      .flatMap((document) => pieces(document, options.sequenceTokens))
      .map((piece, place) => ({ ...piece, place }));
    this.#seed = options.seed;
    if (this.#sequences.length === 0)
      throw new TuneError(
        "too-little-data",
        `There is no text of at least ${SHORTEST_TOKENS} tokens to train on. Give longer or more texts.`,
      );
  }

  /** Sequences of one pass. */
  get length(): number {
    return this.#sequences.length;
  }

  /** Tokens of one pass. */
  get tokens(): number {
    return this.#sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
  }

  /** In the documents' order, for evaluation. */
  all(): readonly TrainingSequence[] {
    return this.#sequences;
  }

  /** The `count` sequences from place `from` on of the endless, shuffled row of passes. */
  take(from: number, count: number): TrainingSequence[] {
    return Array.from({ length: count }, (_, i) => {
      const place = from + i;
      const order = this.#order(Math.floor(place / this.length));
      return this.#sequences[order[place % this.length]];
    });
  }

  /** SHA-256 of all tokens and cuts: whether a run goes on with the same data. */
  sha256(): string {
    const hash = createHash("sha256");
    for (const { tokens, promptTokens = 0 } of this.#sequences) {
      hash.update(Int32Array.of(tokens.length, promptTokens));
      hash.update(tokens);
    }
    return hash.digest("hex");
  }

  #order(pass: number): Int32Array {
    let order = this.#orders.get(pass);
    if (order === undefined) {
      order = Int32Array.from(this.#sequences, (_, i) => i);
      new Randomness(this.#seed, pass).shuffle(order);
      this.#orders.clear();
      this.#orders.set(pass, order);
    }
    return order;
  }
}

function pieces({ tokens, promptTokens = 0 }: TrainingSequence, sequenceTokens: number): TrainingSequence[] {
  const cut: TrainingSequence[] = [];
  for (let from = 0; from < tokens.length; from += sequenceTokens) {
    const piece = tokens.slice(from, from + sequenceTokens);
    const prompt = Math.min(piece.length, Math.max(0, promptTokens - from));
    if (piece.length >= SHORTEST_TOKENS) cut.push({ tokens: piece, promptTokens: prompt });
  }
  return cut;
}
