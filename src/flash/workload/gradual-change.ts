/**
 * Shares of a population that change together, without a table of its members: member m belongs to share m mod 1,000. `RankDrift`
 * gives the ranks of a share other keys, `KeyChurn` replaces the keys of a share by new ones. Each step takes the next shares of
 * a random order, so that after 1,000 shares every member was changed once.
 */
import type { Randomness } from "../../predict/randomness.ts";
import { FlashError } from "../errors.ts";
import { MAX_GENERATIONS } from "./key-bytes.ts";

/** The finest step: a thousandth of the members. */
export const SHARES = 1000;

export interface GradualChange {
  /** Share of the members changed at each step: a multiple of 0.001, up to 1. */
  readonly share: number;
  /** Events of the whole workload between two steps. */
  readonly everyOperations: number;
}

/** @throws FlashError `bad-options` */
export function checkGradualChange(what: string, { share, everyOperations }: GradualChange, members: number): void {
  const shares = share * SHARES;
  if (!(share > 0 && share <= 1) || Math.abs(shares - Math.round(shares)) > 1e-9)
    throw new FlashError("bad-options", `The share that ${what} changes must be a multiple of 0.001, not ${share}.`);
  if (!Number.isInteger(everyOperations) || everyOperations < 1)
    throw new FlashError(
      "bad-options",
      `The events between steps of ${what} must be 1 or more, not ${everyOperations}.`,
    );
  if (members < 2 * SHARES)
    throw new FlashError("bad-options", `With ${what}, a population needs ${2 * SHARES} keys or more, not ${members}.`);
}

/**
 * Within its share, each rank takes the key of the rank that stands a random distance further on: popular keys sink, others rise
 * in their place, and no rank of the share keeps its key.
 */
export class RankDrift {
  readonly #random: Randomness;
  readonly #order: Int32Array;
  readonly #ranks: number;
  /** Of each share, in members of the share. */
  readonly #distance = new Uint32Array(SHARES);
  readonly #perStep: number;
  #at = 0;

  constructor({ share }: GradualChange, ranks: number, random: Randomness) {
    this.#random = random;
    this.#ranks = ranks;
    this.#order = shuffledShares(random);
    this.#perStep = Math.round(share * SHARES);
  }

  step(): void {
    for (let i = 0; i < this.#perStep; i++) {
      const share = this.#order[this.#at];
      this.#at = (this.#at + 1) % SHARES;
      const members = this.#members(share);
      const further = 1 + Math.floor(this.#random.next() * (members - 1));
      this.#distance[share] = (this.#distance[share] + further) % members;
    }
  }

  /** The rank that had this rank's key in the beginning. */
  originOf(rank: number): number {
    const share = rank % SHARES;
    const distance = this.#distance[share];
    if (distance === 0) return rank;
    const moved = rank + distance * SHARES;
    return moved < this.#ranks ? moved : moved - this.#members(share) * SHARES;
  }

  #members(share: number): number {
    return Math.ceil((this.#ranks - share) / SHARES);
  }
}

/** How often the key of a number was replaced by one that never was before. */
export class KeyChurn {
  readonly #order: Int32Array;
  readonly #generation = new Uint32Array(SHARES);
  readonly #perStep: number;
  #at = 0;

  constructor({ share }: GradualChange, random: Randomness) {
    this.#order = shuffledShares(random);
    this.#perStep = Math.round(share * SHARES);
  }

  step(): void {
    for (let i = 0; i < this.#perStep; i++) {
      const share = this.#order[this.#at];
      this.#generation[share] = (this.#generation[share] + 1) % MAX_GENERATIONS;
      this.#at = (this.#at + 1) % SHARES;
    }
  }

  generationOf(key: number): number {
    return this.#generation[key % SHARES];
  }
}

function shuffledShares(random: Randomness): Int32Array {
  return random.shuffle(Int32Array.from({ length: SHARES }, (_, share) => share));
}
