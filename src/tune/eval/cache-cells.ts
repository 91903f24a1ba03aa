/**
 * Hits of expert caches on a document's routing, for every cell of policy x size x accounting x scope that a report shows.
 * A cache starts empty with each document and a first use misses, the paper's protocol of isolated requests; or it goes on from
 * the document before.
 */
import type { ExpertSequence, RoutingShape } from "../../locality/expert-sequence.ts";
import { beladyKeys, lfuKeys, makeKeys, type PriorityKeys } from "../../locality/priority-keys.ts";
import { makeRuntimeScratch, type RuntimeScratch, runtimeHits } from "../../locality/runtime-caches.ts";
import { lruCurve, makeStackScratch, rankedCurve, type StackScratch } from "../../locality/stack-curves.ts";
import { joinedDocuments, layerSequence, modelSequence, oneByOne, type RoutedDocument } from "./routed-document.ts";

export type CachePolicy = "lru" | "lfu" | "belady";
/** "set": a layer's experts are looked up together, before any is evicted. "sequential": one after the other, best first. */
export type Accounting = "set" | "sequential";
/** A cache for each layer, or one for all of them. */
export type CacheScope = "layer" | "model";

export interface CacheCell {
  readonly scope: CacheScope;
  readonly policy: CachePolicy;
  readonly accounting: Accounting;
  /** C: experts per layer. One cache for all layers holds as many times the layers. */
  readonly expertsPerLayer: number;
}

const POLICIES: readonly CachePolicy[] = ["lru", "lfu", "belady"];

/** K, 1.33 K, 2 K, 4 K and a quarter, a half and three quarters of the experts, and what else is wanted; ascending. */
export function cacheSizes(
  { experts, expertsUsed }: Pick<RoutingShape, "experts" | "expertsUsed">,
  more: readonly number[] = [],
): number[] {
  const used = [1, 4 / 3, 2, 4].map((times) => Math.round(times * expertsUsed));
  const all = [0.25, 0.5, 0.75].map((share) => Math.round(share * experts));
  const sizes = [...used, ...all, ...more].filter((size) => size >= 1 && size < experts);
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** Every combination. */
export function cacheCells(sizes: readonly number[]): CacheCell[] {
  return (["layer", "model"] as const).flatMap((scope) =>
    (["set", "sequential"] as const).flatMap((accounting) =>
      POLICIES.flatMap((policy) => sizes.map((expertsPerLayer) => ({ scope, policy, accounting, expertsPerLayer }))),
    ),
  );
}

/** Hits of all cells, in their order. */
export class CacheCounter {
  readonly #shape: RoutingShape;
  readonly #cells: readonly CacheCell[];
  readonly #stack: StackScratch;
  readonly #runtime: RuntimeScratch;
  readonly #bytes: Float64Array;

  constructor(shape: RoutingShape, cells: readonly CacheCell[]) {
    const all = shape.layers * shape.experts;
    this.#shape = shape;
    this.#cells = cells;
    this.#stack = makeStackScratch(shape.experts);
    this.#runtime = makeRuntimeScratch(all);
    // Sizes are counted in experts: models whose layers differ in bytes are compared by the engine itself.
    this.#bytes = new Float64Array(all).fill(1);
  }

  /**
   * @param before what the caches have seen already: hits of both less hits of it. Belady's rule gives up hits there for some
   *   here, so that its difference is only a bound, and LRU's from the same start another: the larger counts
   * @default they are empty
   */
  hits(document: RoutedDocument, before?: RoutedDocument): Float64Array {
    if (before === undefined) return this.#hitsFromEmpty(document);
    const hits = this.#hitsFromEmpty(joinedDocuments(before, document));
    for (const [i, own] of this.#hitsFromEmpty(before).entries()) hits[i] -= own;
    for (const [i, cell] of this.#cells.entries()) {
      if (cell.policy !== "belady") continue;
      const lru = this.#cells.findIndex((one) => one.policy === "lru" && sameCache(one, cell));
      if (lru >= 0) hits[i] = Math.max(hits[i], hits[lru]);
    }
    return hits;
  }

  #hitsFromEmpty(document: RoutedDocument): Float64Array {
    const hits = new Float64Array(this.#cells.length);
    for (let layer = 0; layer < this.#shape.layers; layer++)
      this.#add(hits, layerSequence(document, layer, this.#shape), "layer");
    this.#add(hits, modelSequence(document, this.#shape), "model");
    return hits;
  }

  #add(hits: Float64Array, sequence: ExpertSequence, scope: CacheScope): void {
    const scratch = new Int32Array(sequence.experts);
    for (const accounting of ["set", "sequential"] as const) {
      const looked = accounting === "set" ? sequence : oneByOne(sequence);
      for (const policy of POLICIES) {
        const cells = [...this.#cells.entries()].filter(
          ([, cell]) => cell.scope === scope && cell.accounting === accounting && cell.policy === policy,
        );
        if (cells.length === 0) continue;
        const keys = policy === "lru" ? undefined : keysOf(policy, looked, scratch);
        if (scope === "layer") {
          const curve = this.#curve(looked, keys);
          for (const [i, { expertsPerLayer }] of cells) hits[i] += curve[expertsPerLayer - 1];
        } else
          for (const [i, { expertsPerLayer }] of cells) {
            const capacity = expertsPerLayer * this.#shape.layers;
            hits[i] += runtimeHits(looked, keys, capacity, this.#bytes, this.#runtime);
          }
      }
    }
  }

  /** [C - 1]: hits of a cache of C experts. */
  #curve(sequence: ExpertSequence, keys: PriorityKeys | undefined): Float64Array {
    const hitsAt = new Int32Array(sequence.experts + 1);
    if (keys === undefined) lruCurve(sequence, hitsAt, "miss", this.#stack);
    else rankedCurve(sequence, keys, hitsAt, "miss", this.#stack);
    const curve = new Float64Array(sequence.experts);
    for (let size = 0, hits = 0; size < sequence.experts; size++) {
      hits += hitsAt[size];
      curve[size] = hits;
    }
    return curve;
  }
}

function sameCache(a: CacheCell, b: CacheCell): boolean {
  return a.scope === b.scope && a.accounting === b.accounting && a.expertsPerLayer === b.expertsPerLayer;
}

function keysOf(policy: "lfu" | "belady", sequence: ExpertSequence, scratch: Int32Array): PriorityKeys {
  const keys = makeKeys(sequence.starts[sequence.tokens]);
  if (policy === "lfu") lfuKeys(keys, sequence, scratch);
  else beladyKeys(keys, sequence, scratch);
  return keys;
}
