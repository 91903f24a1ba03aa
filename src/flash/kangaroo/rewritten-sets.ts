/** The counts of set pages written, for write amplification's two halves: how full pages are, and how much of it is new. */
import type { EngineStats } from "../engine.ts";
import { SET_BYTES } from "../format/set-page.ts";
import type { SetMerge } from "./set-merge.ts";

export class RewrittenSets {
  /** Set pages written. */
  pages = 0;
  /** Objects that came into a set with them. */
  newObjects = 0;
  #freshBytes = 0;
  #usedBytes = 0;

  /** Notes what a merge came to. @param usedBytes of entries in the pages written */
  count(stats: EngineStats, merge: SetMerge, pages: number, usedBytes: number): void {
    stats.fates.migrated += merge.fresh;
    stats.fates.replaced += merge.replaced;
    stats.fates.evictedCold += merge.evicted;
    stats.residentObjects -= merge.replaced + merge.evicted;
    this.pages += pages;
    this.newObjects += merge.fresh;
    this.#freshBytes += merge.freshBytes;
    this.#usedBytes += usedBytes;
  }

  fillRate(): EngineStats["fillRate"] {
    const bytes = Math.max(1, this.pages * SET_BYTES);
    return { fresh: this.#freshBytes / bytes, all: this.#usedBytes / bytes };
  }
}
