/**
 * Where a page-mapped device keeps each logical page, and what it copies to make room: no bytes, only the mapping and its counts.
 * It stands for the inside of a conventional drive and of one with reclaim units, and plans the cleaning of blocks on zones.
 */
import { FlashError } from "../errors.ts";

/** Which full block is cleaned: the one with the fewest valid pages, or the one that was filled first. */
export type Cleaning = "greedy" | "fifo";

/** Told of each move in its order, before the page that made room necessary is placed. Physical pages. */
export interface FlashMoves {
  copied(page: number, from: number, to: number): void;
  erased(block: number): void;
}

export interface FlashMapOptions {
  /** Pages that can be written to. */
  readonly logicalPages: number;
  /** What is erased at once. */
  readonly blockPages: number;
  /** At least what the logical pages need, one open block per stream and two for cleaning. */
  readonly blocks: number;
  /** Blocks that are filled side by side. @default 1 */
  readonly streams?: number;
  /** @default "greedy" */
  readonly cleaning?: Cleaning;
  /** @default nobody */
  readonly moves?: FlashMoves;
}

const NONE = -1;

export class FlashMap {
  readonly logicalPages: number;
  /** Written by the host, copied by cleaning, and blocks erased. */
  pagesWritten = 0;
  pagesCopied = 0;
  erases = 0;
  readonly #blockPages: number;
  readonly #greedy: boolean;
  readonly #moves: FlashMoves | undefined;
  /** Physical page of each logical one, and back; `NONE` where there is none. */
  readonly #physical: Int32Array;
  readonly #logical: Int32Array;
  readonly #valid: Int32Array;
  /** Per stream, the last one for copies: the block being filled and its next page. */
  readonly #openBlock: Int32Array;
  readonly #openPage: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;
  /**
   * Full blocks as doubly linked lists, the oldest first: one for each number of valid pages where cleaning is greedy, else one
   * for all.
   */
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #full: Uint8Array;
  /** No list below this one has a block. */
  #lowest = 0;

  /** @throws FlashError `bad-options` when there is no room to clean */
  constructor(options: FlashMapOptions) {
    const { logicalPages, blockPages, blocks, streams = 1, cleaning = "greedy", moves } = options;
    const needed = Math.ceil(logicalPages / blockPages) + streams + 2;
    if (!(blocks >= needed && logicalPages > 0 && blocks * blockPages < 2 ** 31)) {
      throw new FlashError(
        "bad-options",
        `${logicalPages} pages in blocks of ${blockPages}, ${streams} written side by side, need ${needed} blocks, not ${blocks}`,
      );
    }
    this.logicalPages = logicalPages;
    this.#blockPages = blockPages;
    this.#greedy = cleaning === "greedy";
    this.#moves = moves;
    this.#physical = new Int32Array(logicalPages).fill(NONE);
    this.#logical = new Int32Array(blocks * blockPages).fill(NONE);
    this.#valid = new Int32Array(blocks);
    this.#openBlock = new Int32Array(streams + 1).fill(NONE);
    this.#openPage = new Int32Array(streams + 1);
    this.#free = Int32Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
    this.#freeCount = blocks;
    const lists = this.#greedy ? blockPages + 1 : 1;
    this.#first = new Int32Array(lists).fill(NONE);
    this.#last = new Int32Array(lists).fill(NONE);
    this.#before = new Int32Array(blocks).fill(NONE);
    this.#after = new Int32Array(blocks).fill(NONE);
    this.#full = new Uint8Array(blocks);
  }

  /** Everything programmed over what the host wrote; 1 before the first write. */
  get writeAmplification(): number {
    return this.pagesWritten === 0 ? 1 : 1 + this.pagesCopied / this.pagesWritten;
  }

  /** Places a new version of a page. @param stream 0 up to `streams` @returns its physical page */
  write(page: number, stream = 0): number {
    if (this.#openBlock[stream] === NONE) {
      // The last free block is for the copies.
      while (this.#freeCount <= 1) this.#clean();
      this.#open(stream);
    }
    this.trim(page);
    const to = this.#place(page, stream);
    this.pagesWritten++;
    return to;
  }

  /** Forgets a page. */
  trim(page: number): void {
    const from = this.#physical[page];
    if (from === NONE) return;
    this.#physical[page] = NONE;
    this.#logical[from] = NONE;
    const block = Math.floor(from / this.#blockPages);
    if (this.#full[block] === 0 || !this.#greedy) {
      this.#valid[block]--;
      return;
    }
    this.#unlink(block);
    this.#valid[block]--;
    this.#link(block);
  }

  /** The physical page of a logical one, -1 when it was never written or is trimmed. */
  locate(page: number): number {
    return this.#physical[page];
  }

  #clean(): void {
    if (this.#greedy) while (this.#first[this.#lowest] === NONE) this.#lowest++;
    const victim = this.#first[this.#greedy ? this.#lowest : 0];
    this.#unlink(victim);
    this.#full[victim] = 0;
    const copies = this.#openBlock.length - 1;
    const end = (victim + 1) * this.#blockPages;
    for (let from = victim * this.#blockPages; from < end && this.#valid[victim] > 0; from++) {
      const page = this.#logical[from];
      if (page === NONE) continue;
      this.#logical[from] = NONE;
      this.#valid[victim]--;
      if (this.#openBlock[copies] === NONE) this.#open(copies);
      const to = this.#place(page, copies);
      this.pagesCopied++;
      this.#moves?.copied(page, from, to);
    }
    this.#free[this.#freeCount++] = victim;
    this.erases++;
    this.#moves?.erased(victim);
  }

  #open(stream: number): void {
    this.#openBlock[stream] = this.#free[--this.#freeCount];
    this.#openPage[stream] = 0;
  }

  #place(page: number, stream: number): number {
    const block = this.#openBlock[stream];
    const to = block * this.#blockPages + this.#openPage[stream]++;
    this.#physical[page] = to;
    this.#logical[to] = page;
    this.#valid[block]++;
    if (this.#openPage[stream] === this.#blockPages) {
      this.#openBlock[stream] = NONE;
      this.#full[block] = 1;
      this.#link(block);
    }
    return to;
  }

  #link(block: number): void {
    const list = this.#greedy ? this.#valid[block] : 0;
    if (list < this.#lowest) this.#lowest = list;
    const last = this.#last[list];
    this.#before[block] = last;
    this.#after[block] = NONE;
    if (last === NONE) this.#first[list] = block;
    else this.#after[last] = block;
    this.#last[list] = block;
  }

  #unlink(block: number): void {
    const list = this.#greedy ? this.#valid[block] : 0;
    const before = this.#before[block];
    const after = this.#after[block];
    if (before === NONE) this.#first[list] = after;
    else this.#after[before] = after;
    if (after === NONE) this.#last[list] = before;
    else this.#before[after] = before;
  }
}
