/**
 * Counts how often each expert is used in each block of the running sequence, and tells of a block once all of its tokens were seen.
 * Blocks of which it has missed a token (they were in the context already, or their pass was given up) are not told.
 */
import type { RouterEvent } from "../../cache/policy.ts";

export class BlockUses {
  readonly #blockTokens: number;
  readonly #experts: number;
  readonly #layers: number;
  /** By block, those not told yet. */
  readonly #uses = new Map<number, Uint8Array>();
  readonly #spare: Uint8Array[] = [];
  /** First position of those seen without a gap, and the position after the running pass. */
  #from = 0;
  #end = 0;
  /** Of the running pass. */
  #position = 0;
  #tokens = 0;
  #layersSeen = 0;

  constructor(blockTokens: number, layers: number, experts: number) {
    this.#blockTokens = blockTokens;
    this.#layers = layers;
    this.#experts = layers * experts;
  }

  /** The pass before is over. Tells the whole blocks that were seen, oldest first; the arrays are valid until the next `pass`. */
  settle(visit: (block: number, uses: Uint8Array) => void): void {
    if (this.#tokens === 0) return;
    // Layers are missing from a pass that was given up. The last one need not run: in a prompt's part it has no output.
    if (this.#layersSeen < this.#layers - 1) {
      this.forget();
      return;
    }
    this.#tokens = 0;
    const first = Math.ceil(this.#from / this.#blockTokens);
    for (const [block, uses] of this.#uses) {
      if ((block + 1) * this.#blockTokens > this.#end) continue;
      if (block >= first) visit(block, uses);
      this.#uses.delete(block);
      this.#spare.push(uses);
    }
  }

  /** A pass over so many tokens begins; `position` is that of the first. */
  pass(position: number, tokens: number): void {
    if (position !== this.#end) {
      this.forget();
      this.#from = position;
    }
    this.#position = position;
    this.#tokens = tokens;
    this.#end = position + tokens;
    this.#layersSeen = 0;
    const size = this.#blockTokens;
    for (let block = Math.floor(position / size); block * size < this.#end; block++)
      if (!this.#uses.has(block)) this.#uses.set(block, this.#spare.pop()?.fill(0) ?? new Uint8Array(this.#experts));
  }

  routed(event: RouterEvent): void {
    const { experts, expertsUsed, tokens, layer } = event;
    this.#layersSeen++;
    const first = (layer * this.#experts) / this.#layers;
    // The last layer of a prompt may run only the tokens whose output is wanted: its last ones.
    const skipped = this.#tokens - tokens;
    for (let token = 0; token < tokens; token++) {
      const block = Math.floor((this.#position + skipped + token) / this.#blockTokens);
      const uses = this.#uses.get(block);
      if (uses === undefined) continue;
      for (let rank = 0; rank < expertsUsed; rank++) uses[first + experts[token * expertsUsed + rank]]++;
    }
  }

  /** So far; undefined when nothing of the block was seen. */
  of(block: number): Uint8Array | undefined {
    return this.#uses.get(block);
  }

  /** What follows does not join on to what was seen. */
  forget(): void {
    for (const uses of this.#uses.values()) this.#spare.push(uses);
    this.#uses.clear();
    this.#tokens = 0;
    this.#from = this.#end;
  }
}
