/**
 * Follows one sequence of tokens and has the hints for its blocks: asks for each as soon as what stands before the block is known,
 * for those of a prompt all at once, and takes the answers when they are there.
 */
import type { BlockChain } from "./block-chain.ts";
import type { HintLink, HintVisitor } from "./hint-link.ts";
import type { SegmentCodec } from "./segment-hint.ts";

export class HintFeed {
  /** Blocks whose hint has come, and those of which nothing is known. */
  found = 0;
  unknown = 0;
  readonly #link: HintLink;
  readonly #chain: BlockChain;
  readonly #codec: SegmentCodec;
  readonly #experts: number;
  /** By block: uses by expert key. */
  readonly #hints = new Map<number, Uint8Array>();
  /** First block of each question that is not answered yet. */
  readonly #questions = new Map<number, number>();
  /** Blocks below this one were asked for, or are past. */
  #askedBelow = 0;
  readonly #answered: HintVisitor = (question, hints) => this.#answer(question, hints);

  /** @param experts of all layers together */
  constructor(link: HintLink, chain: BlockChain, codec: SegmentCodec, experts: number) {
    this.#link = link;
    this.#chain = chain;
    this.#codec = codec;
    this.#experts = experts;
  }

  /**
   * These tokens come next. Waits for their hints up to `waitMs` if there are any to wait for.
   * @returns false when what stands before them is not known
   */
  advance(position: number, tokens: Int32Array, waitMs: number): boolean {
    const size = this.#chain.blockTokens;
    const first = Math.floor(position / size);
    // Back in the sequence: blocks behind this one will follow other tokens than those that were asked about.
    if (position < this.#chain.length) this.#keep(0, first + 1);
    if (!this.#chain.extend(position, tokens)) {
      this.#keep(0, 0);
      return false;
    }
    this.#keep(first, this.#askedBelow);
    const end = 1 + Math.floor(this.#chain.length / size);
    const from = Math.max(first, this.#askedBelow);
    if (from < end) {
      const keys = Array.from({ length: end - from }, (_, i) => this.#chain.key(from + i));
      this.#questions.set(this.#link.ask(keys), from);
      this.#askedBelow = end;
    }
    this.#link.take(this.#questions.size > 0 ? waitMs : 0, this.#answered);
    return true;
  }

  /** By expert key: uses in that block as far as the store knows; undefined: it does not, or not yet. */
  hintOf(block: number): Uint8Array | undefined {
    return this.#hints.get(block);
  }

  /** Forgets all blocks but those from `from` up to `end`. */
  #keep(from: number, end: number): void {
    for (const block of this.#hints.keys()) if (block < from || block >= end) this.#hints.delete(block);
    if (end >= this.#askedBelow) return;
    this.#askedBelow = end;
    // An answer still on its way may be to a block that is another one now.
    this.#questions.clear();
  }

  #answer(question: number, hints: readonly (Uint8Array | undefined)[]): void {
    const first = this.#questions.get(question);
    if (first === undefined) return;
    this.#questions.delete(question);
    for (const [index, hint] of hints.entries()) {
      const uses = new Uint8Array(this.#experts);
      if (hint === undefined || !this.#codec.decode(hint, uses)) this.unknown++;
      else {
        this.found++;
        this.#hints.set(first + index, uses);
      }
    }
  }
}
