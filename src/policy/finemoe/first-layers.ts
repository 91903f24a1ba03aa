/**
 * The first layers of a token have no layers before them in which their experts could be forecast and read. Their favourites
 * are therefore kept, up to a share of the budget, and brought back while the last layer of the token before computes.
 */
import type { Residents } from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { Shielded } from "../shielded.ts";
import type { EvictionRanking } from "./eviction.ts";
import type { UseShares } from "./use-shares.ts";

/**
 * Used by every third token at least. Whatever it is from 0.2 to 0.5, on the demo model eviction by next use keeps these
 * experts by itself, and the idea then moves nothing (0.0 points of decode hits at 12 and 25 %).
 */
const FAVOURITE_SHARE = 0.3;
/** Of the budget's experts, what favourites may hold. */
const BUDGET_SHARE = 0.25;

export class FirstLayers {
  /** Times that a favourite was spared, and reads that brought one back. */
  spared = 0;
  read = 0;
  readonly #shares: UseShares;
  /** Keys below this are of the first layers. */
  readonly #end: number;
  readonly #most: number;
  /** Favourites, the surest first. */
  readonly #keys: Int32Array;
  #count = 0;
  readonly #favourite: Uint8Array;
  /** What is in memory, as if no favourite could go. */
  readonly #others = new Shielded((key) => this.#favourite[key] === 1);

  /** @param layers d: those that the trajectory search cannot forecast */
  constructor(shape: ModelShape, shares: UseShares, layers: number, budgetExperts: number) {
    this.#shares = shares;
    this.#end = Math.min(layers, shape.layers) * shape.experts;
    this.#most = Math.floor(budgetExperts * BUDGET_SHARE);
    this.#keys = new Int32Array(this.#end);
    this.#favourite = new Uint8Array(shape.layers * shape.experts);
  }

  /** A token's last layer has run: who the favourites are is settled for the next one. */
  tokenEnds(): void {
    this.#favourite.fill(0);
    this.#count = 0;
    for (let key = 0; key < this.#end; key++) {
      const share = this.#shares.share(key);
      if (share < FAVOURITE_SHARE) continue;
      let at = this.#count++;
      for (; at > 0 && share > this.#shares.share(this.#keys[at - 1]); at--) this.#keys[at] = this.#keys[at - 1];
      this.#keys[at] = key;
    }
    this.#count = Math.min(this.#count, this.#most);
    for (let i = 0; i < this.#count; i++) this.#favourite[this.#keys[i]] = 1;
  }

  /** The surest favourite that is not in memory, or NO_EXPERT. */
  best(residents: Residents, admits: ((key: ExpertKey) => boolean) | undefined): ExpertKey {
    for (let i = 0; i < this.#count; i++) {
      const key = this.#keys[i] as ExpertKey;
      if (!residents.has(key) && (admits === undefined || admits(key))) return key;
    }
    return NO_EXPERT;
  }

  /** The ranking's victim among all but the favourites, and among them when nothing else can go. */
  victim(candidates: Residents, ranking: EvictionRanking): ExpertKey {
    const first = ranking.victim(candidates);
    if (first === NO_EXPERT || this.#favourite[first] === 0) return first;
    const other = ranking.victim(this.#others.of(candidates));
    if (other === NO_EXPERT) return first;
    this.spared++;
    return other;
  }
}
