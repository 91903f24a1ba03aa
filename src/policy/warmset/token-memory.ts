/**
 * Which experts a token id used when it came last: the id is known before its iteration begins, so this speaks of all
 * layers before the first router does. It is a table of fixed size in which a token takes the place of whichever had it;
 * ids are by frequency in most vocabularies, so the frequent ones seldom share a place.
 */
import type { IterationStart, RouterEvent } from "../../cache/policy.ts";
import type { ModelShape } from "../../cache/shape.ts";

/** Occurrences of a token that are remembered. */
const OCCURRENCES = 6;
/** Size of the table at most. */
const TABLE_BYTES = 8 * 2 ** 20;
const MOST_PLACES = 8192;
/** What the mean share counts as, in occurrences, so that one occurrence is not certainty. */
const PRIOR_OCCURRENCES = 0.5;
const NONE = 0xffff;

export class TokenMemory {
  readonly places: number;
  /** Per place: the token's id, -1 for nobody. */
  readonly ids: Int32Array;
  /** Per place: occurrences so far. */
  readonly seen: Uint32Array;
  /** `[places][OCCURRENCES][layers][expertsUsed]`: the chosen experts, NONE where there are none. */
  readonly choices: Uint16Array;
  readonly #shape: ModelShape;
  readonly #perOccurrence: number;
  /** Per key: share of the recalled token's occurrences that used the expert, shrunk towards the mean share. */
  readonly shares: Float64Array;
  /** Index in `choices` where each token of the running iteration is written. */
  #writing = new Int32Array(1);
  #tokens = 0;

  constructor(shape: ModelShape) {
    const { layers, experts, expertsUsed } = shape;
    this.#shape = shape;
    this.#perOccurrence = layers * expertsUsed;
    this.places = Math.max(1, Math.min(MOST_PLACES, Math.floor(TABLE_BYTES / (OCCURRENCES * this.#perOccurrence * 2))));
    this.ids = new Int32Array(this.places).fill(-1);
    this.seen = new Uint32Array(this.places);
    this.choices = new Uint16Array(this.places * OCCURRENCES * this.#perOccurrence).fill(NONE);
    this.shares = new Float64Array(layers * experts);
  }

  /** An iteration begins: fills `shares` if it is of one token that was seen before, and says whether it was. */
  begin({ tokens, tokenIds }: IterationStart): boolean {
    const known = tokens === 1 && this.#recall(tokenIds[0] as number);
    if (this.#writing.length < tokens) this.#writing = new Int32Array(tokens);
    this.#tokens = tokens;
    for (let i = 0; i < tokens; i++) this.#writing[i] = this.#place(tokenIds[i] as number);
    return known;
  }

  /** A layer's decision for the tokens of this iteration. */
  observe(event: RouterEvent): void {
    // The last layer of a prompt runs only the tokens whose output was asked for: nobody knows which.
    if (event.tokens !== this.#tokens) return;
    const { expertsUsed } = this.#shape;
    for (let token = 0; token < event.tokens; token++) {
      const occurrence = this.#writing[token] as number;
      if (occurrence < 0) continue;
      const to = occurrence + event.layer * expertsUsed;
      for (let rank = 0; rank < event.expertsUsed; rank++)
        this.choices[to + rank] = event.experts[token * event.expertsUsed + rank] as number;
    }
  }

  #recall(id: number): boolean {
    if (id < 0) return false;
    const { layers, experts, expertsUsed } = this.#shape;
    const place = placeOf(id, this.places);
    if (this.ids[place] !== id) return false;
    const occurrences = Math.min(this.seen[place] as number, OCCURRENCES);
    const share = 1 / (occurrences + PRIOR_OCCURRENCES);
    const shares = this.shares.fill((expertsUsed / experts) * PRIOR_OCCURRENCES * share);
    let from = place * OCCURRENCES * this.#perOccurrence;
    for (let i = 0; i < occurrences; i++)
      for (let layer = 0; layer < layers; layer++)
        for (let rank = 0; rank < expertsUsed; rank++) {
          const expert = this.choices[from++] as number;
          if (expert === NONE) continue;
          const key = layer * experts + expert;
          shares[key] = (shares[key] as number) + share;
        }
    return true;
  }

  /** Where this occurrence is written: over the token's oldest. -1 for a token that the host does not know. */
  #place(id: number): number {
    if (id < 0) return -1;
    const place = placeOf(id, this.places);
    if (this.ids[place] !== id) {
      this.ids[place] = id;
      this.seen[place] = 0;
    }
    const occurrence = (this.seen[place] as number) % OCCURRENCES;
    this.seen[place] = (this.seen[place] as number) + 1;
    const to = (place * OCCURRENCES + occurrence) * this.#perOccurrence;
    this.choices.fill(NONE, to, to + this.#perOccurrence);
    return to;
  }
}

function placeOf(id: number, places: number): number {
  return id % places;
}
