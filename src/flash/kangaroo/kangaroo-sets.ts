/**
 * KSet and the flush of KLog (Kangaroo, SOSP'21, sections 4.2 to 4.4): sets are blocks overwritten in place, and an object of the
 * log goes to its set only together with others, so that one write of 4 KiB is shared. Objects that wait alone are dropped,
 * or put back when they were read.
 */
import type { BlockDevice } from "../device/block-device.ts";
import type { EngineStats } from "../engine.ts";
import { FlashError } from "../errors.ts";
import {
  entryBytes,
  entryCount,
  entryLow,
  entryValue,
  findEntry,
  isTombstone,
  SET_BYTES,
  sealSet,
  usedBytes,
  verifySet,
} from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";
import type { SetLayer } from "./log-before-sets.ts";
import { type ObjectLog, UNKNOWN } from "./object-log.ts";
import { RewrittenSets } from "./rewritten-sets.ts";
import { SetFilters } from "./set-filters.ts";
import { SetHits } from "./set-hits.ts";
import { FIRST_PAGE, SetMerge } from "./set-merge.ts";

export interface KangarooSetsOptions {
  /** Objects that must wait for a set before it is written. */
  readonly threshold: number;
  readonly filterBytes: number;
  readonly stats: EngineStats;
}

export class KangarooSets implements SetLayer {
  readonly sets: number;
  readonly rewritten = new RewrittenSets();
  readonly #device: BlockDevice;
  readonly #threshold: number;
  readonly #stats: EngineStats;
  readonly #filters: SetFilters;
  readonly #hits: SetHits;
  /** One bit a set: written since the engine was opened. What a block held before is nobody's. */
  readonly #stored: Uint8Array;
  readonly #merge = new SetMerge();
  readonly #page = new Uint8Array(SET_BYTES);
  /** The set that is being written from `#page`, or -1. */
  #writing = -1;
  #writes = 0;

  constructor(device: BlockDevice, { threshold, filterBytes, stats }: KangarooSetsOptions) {
    this.sets = device.blocks;
    this.#device = device;
    this.#threshold = threshold;
    this.#stats = stats;
    this.#filters = new SetFilters(device.blocks, filterBytes);
    this.#hits = new SetHits(device.blocks);
    this.#stored = new Uint8Array(Math.ceil(device.blocks / 8));
  }

  mayHold(set: number, key: HashedKey): boolean {
    return this.#isStored(set) && this.#filters.mayHold(set, key.low);
  }

  async get(set: number, key: HashedKey): Promise<Uint8Array | undefined> {
    while (this.mayHold(set, key)) {
      if (set === this.#writing) return this.#found(set, key, this.#page);
      const writes = this.#writes;
      this.#stats.setPagesRead++;
      const page = new Uint8Array(SET_BYTES);
      if (await this.#read(set, page)) return this.#found(set, key, page);
      // A block is read torn while it is written.
      if (this.#writes !== writes) continue;
      this.#stats.readErrors++;
      return undefined;
    }
    return undefined;
  }

  forget(set: number): void {
    this.#setStored(set, false);
    this.#filters.clear(set);
  }

  async emptyOldest(log: ObjectLog): Promise<void> {
    // More put back than this, and a log full of objects that are read would never come free.
    let mayReadmitBytes = log.oldest.length / 2;
    for (const { set, page, entry } of log.alive()) {
      if (entry === UNKNOWN) {
        await this.#moveAll(log, set);
        continue;
      }
      if (!log.isAlone(set) || this.#threshold <= 1) {
        this.#merge.begin();
        await log.gather(set, this.#merge);
        if (this.#merge.incomingObjects >= this.#threshold || this.#merge.oldPagesAreDoubtful) {
          await this.#rewrite(log, set);
          continue;
        }
        if (this.#merge.newestPage(log.oldest, entry) !== log.pageOf(page)) {
          this.#drop(log, set, page, entry, "replaced");
          continue;
        }
      }
      // A dropped object must not bring back an older one of its key from the set.
      const shadows = this.#isStored(set) && this.#filters.mayHold(set, entryLow(log.oldest, entry));
      const wanted = !isTombstone(log.oldest, entry) && log.wasUsed(set, page, entry);
      if (!shadows && !wanted) this.#drop(log, set, page, entry, "evictedCold");
      else if (mayReadmitBytes > 0 && log.readmit(set, page, entry)) {
        mayReadmitBytes -= entryBytes(log.oldest, entry);
        if (!isTombstone(log.oldest, entry)) this.#stats.fates.readmitted++;
      } else await this.#moveAll(log, set);
    }
  }

  async flush(): Promise<void> {}

  indexBytes(): number {
    return this.#filters.bytes + this.#stored.length;
  }

  bufferBytes(): number {
    return this.#merge.bytes + SET_BYTES;
  }

  hotnessBytes(): number {
    return this.#hits.bytes;
  }

  unsavedBytes(): number {
    return 0;
  }

  fillRate(): EngineStats["fillRate"] {
    return this.rewritten.fillRate();
  }

  #found(set: number, key: HashedKey, page: Uint8Array): Uint8Array | undefined {
    const entry = findEntry(page, 0, key);
    if (entry < 0) {
      this.#stats.falsePositives++;
      return undefined;
    }
    this.#stats.hitsFlash++;
    this.#hits.mark(set, page, 0, entry);
    return entryValue(page, entry);
  }

  async #moveAll(log: ObjectLog, set: number): Promise<void> {
    this.#merge.begin();
    await log.gather(set, this.#merge);
    await this.#rewrite(log, set);
  }

  /** Writes the set with what was gathered for it. */
  async #rewrite(log: ObjectLog, set: number): Promise<void> {
    const merge = this.#merge;
    if (this.#isStored(set) && !merge.oldPagesAreDoubtful) {
      if (await this.#read(set, merge.arena.subarray(FIRST_PAGE, SET_BYTES))) {
        merge.addPage(FIRST_PAGE, this.#hits.of(set));
      } else this.#stats.readErrors++;
    }
    merge.order(1);
    merge.fill(this.#page, 0, set, this.#filters);
    const kept = entryCount(this.#page, 0) > 0;
    if (kept) {
      sealSet(this.#page, 0, 0, 0);
      this.#writes++;
      this.#writing = set;
      try {
        await this.#device.write(set, this.#page);
      } finally {
        this.#writing = -1;
        this.#writes++;
      }
    }
    this.#setStored(set, kept);
    this.#hits.clear(set);
    log.clear(set);
    this.rewritten.count(this.#stats, merge, kept ? 1 : 0, usedBytes(this.#page, 0));
  }

  #drop(log: ObjectLog, set: number, page: number, entry: number, fate: "evictedCold" | "replaced"): void {
    log.drop(set, page, entry);
    if (isTombstone(log.oldest, entry)) return;
    this.#stats.fates[fate]++;
    this.#stats.residentObjects--;
  }

  async #read(set: number, into: Uint8Array): Promise<boolean> {
    try {
      await this.#device.read(set, into);
    } catch (error) {
      if (error instanceof FlashError) return false;
      throw error;
    }
    return verifySet(into, 0, set);
  }

  #isStored(set: number): boolean {
    return (this.#stored[set >>> 3] & (1 << (set & 7))) !== 0;
  }

  #setStored(set: number, stored: boolean): void {
    if (stored) this.#stored[set >>> 3] |= 1 << (set & 7);
    else this.#stored[set >>> 3] &= ~(1 << (set & 7));
  }
}
