/**
 * FwSets (FairyWREN, OSDI'24): sets written to a log of zones, so that cleaning and eviction are one thing. Each bucket is a cold
 * page, which takes new objects, and a hot page of those read most, which is written less often. A page that cleaning moves takes
 * along what waits in the log for it (nest packing). A key is in one of its bucket's two pages at most.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import type { EngineStats } from "../engine.ts";
import { entryCount, entryValue, findEntry, SET_BYTES, setNumberIn, usedBytes, verifySet } from "../format/set-page.ts";
import type { SetLayer } from "../kangaroo/log-before-sets.ts";
import { type ObjectLog, UNKNOWN } from "../kangaroo/object-log.ts";
import { RewrittenSets } from "../kangaroo/rewritten-sets.ts";
import { SetFilters } from "../kangaroo/set-filters.ts";
import { SetHits } from "../kangaroo/set-hits.ts";
import { FIRST_PAGE, SECOND_PAGE, SetMerge } from "../kangaroo/set-merge.ts";
import type { HashedKey } from "../key-hash.ts";
import type { SetZones } from "./set-zones.ts";

export const COLD = 0;
export const HOT = 1;

/** For whose sake a bucket is written: an object at the log's end, or the zone it lies in. */
type Cause = "log" | "cleaning";

export interface FairywrenSetsOptions {
  readonly buckets: number;
  readonly logs: readonly ObjectLog[];
  readonly zones: SetZones;
  /** Cold writes of a bucket for each hot one. */
  readonly hotEvery: number;
  readonly filterBytes: number;
  /** Free zones below which nothing is written before a zone was cleaned. */
  readonly freeZones: number;
  readonly stats: EngineStats;
}

export class FairywrenSets implements SetLayer {
  readonly sets: number;
  readonly rewritten = new RewrittenSets();
  /** Buckets written, by cause. */
  readonly bucketWrites: Record<Cause, number> = { log: 0, cleaning: 0 };
  hotWrites = 0;
  hotMoves = 0;
  zonesCleaned = 0;
  readonly #options: FairywrenSetsOptions;
  readonly #zones: SetZones;
  readonly #stats: EngineStats;
  readonly #filters: SetFilters;
  readonly #hits: SetHits;
  /** Per bucket, cold writes since the last hot one. */
  readonly #coldWrites: Uint8Array;
  readonly #merge = new SetMerge();
  /** Part of the zone that is being cleaned. */
  readonly #chunk: Uint8Array;
  readonly #page = new Uint8Array(SET_BYTES);

  constructor(options: FairywrenSetsOptions) {
    this.sets = options.buckets;
    this.#options = options;
    this.#zones = options.zones;
    this.#stats = options.stats;
    this.#filters = new SetFilters(2 * options.buckets, options.filterBytes);
    this.#hits = new SetHits(2 * options.buckets);
    this.#coldWrites = new Uint8Array(options.buckets);
    this.#chunk = new Uint8Array(options.zones.slice(COLD).length);
  }

  mayHold(set: number, key: HashedKey): boolean {
    return this.#pageMayHold(2 * set + COLD, key) || this.#pageMayHold(2 * set + HOT, key);
  }

  async get(set: number, key: HashedKey): Promise<Uint8Array | undefined> {
    let page: Uint8Array | undefined;
    for (let number = 2 * set + COLD; number <= 2 * set + HOT; ) {
      if (!this.#pageMayHold(number, key)) {
        number++;
        continue;
      }
      page ??= new Uint8Array(SET_BYTES);
      const place = this.#zones.place(number);
      this.#stats.setPagesRead++;
      const sound = await this.#zones.read(number, page);
      const entry = sound ? findEntry(page, 0, key) : -1;
      if (entry >= 0) {
        if (this.#zones.place(number) === place) this.#hits.mark(number, page, 0, entry);
        this.#stats.hitsFlash++;
        return entryValue(page, entry);
      }
      // The page was moved while it was read: once more from where it is now.
      if (!sound && this.#zones.place(number) !== place) continue;
      if (sound) this.#stats.falsePositives++;
      else this.#stats.readErrors++;
      number++;
    }
    return undefined;
  }

  forget(set: number): void {
    this.#forgetPage(2 * set + COLD);
    this.#forgetPage(2 * set + HOT);
  }

  async emptyOldest(log: ObjectLog): Promise<void> {
    for (const { set, page, entry } of log.alive()) {
      if (entry !== UNKNOWN) {
        await this.#cleanWhatIsNeeded();
        // Cleaning may have taken it along.
        if (log.aliveSet(page, entry) < 0) continue;
      }
      await this.#moveFromLog(log, set);
    }
  }

  flush(): Promise<void> {
    return this.#zones.flush();
  }

  indexBytes(): number {
    return this.#filters.bytes + this.#zones.indexBytes + this.#coldWrites.length;
  }

  bufferBytes(): number {
    return this.#merge.bytes + this.#chunk.length + SET_BYTES + this.#zones.bufferBytes;
  }

  hotnessBytes(): number {
    return this.#hits.bytes;
  }

  unsavedBytes(): number {
    return this.#zones.unsavedBytes;
  }

  fillRate(): EngineStats["fillRate"] {
    return this.rewritten.fillRate();
  }

  #pageMayHold(number: number, key: HashedKey): boolean {
    return this.#zones.has(number) && this.#filters.mayHold(number, key.low);
  }

  #forgetPage(number: number): void {
    this.#zones.forget(number);
    this.#filters.clear(number);
    this.#hits.clear(number);
  }

  async #moveFromLog(log: ObjectLog, set: number): Promise<void> {
    while (!(await this.#rewrite(log, set, "log"))) await this.#giveUp(this.#zones.emptiest());
  }

  /**
   * Cleans the emptiest zones, hot or cold, until enough are free and no sooner. Cleaning cold zones ahead of need, as the published
   * cleaner does when it is idle, lets hot zones fill with dead pages. Published write amplification and ours, by reserve:
   * `flash bench --ablations fairywren`.
   */
  async #cleanWhatIsNeeded(): Promise<void> {
    while (this.#zones.freeZones < this.#options.freeZones) {
      const zone = this.#zones.emptiest();
      // A zone with every page alive frees nothing.
      if (zone < 0 || this.#zones.alivePages(zone) === this.#zones.zonePages) return;
      await this.#clean(zone);
    }
  }

  async #clean(zone: number): Promise<void> {
    const chunkPages = this.#chunk.length / PAGE_BYTES;
    for (let first = 0; first < this.#zones.zonePages && this.#zones.alivePages(zone) > 0; first += chunkPages) {
      const pages = Math.min(chunkPages, this.#zones.zonePages - first);
      if (!(await this.#zones.readZone(zone, first, pages, this.#chunk.subarray(0, pages * PAGE_BYTES)))) continue;
      for (let page = 0; page < pages; page++) {
        const at = page * PAGE_BYTES;
        const number = setNumberIn(this.#chunk, at);
        if (!this.#zones.isAt(number, zone, first + page) || !verifySet(this.#chunk, at, number)) continue;
        if (!(await this.#move(number, at))) return this.#giveUp(zone);
      }
    }
    this.zonesCleaned++;
    await this.#giveUp(zone);
  }

  /** Writes a page of the zone that is being cleaned anew. False when there is no room. */
  async #move(number: number, at: number): Promise<boolean> {
    const set = number >>> 1;
    if ((number & 1) === COLD) return this.#rewrite(this.#logOf(set), set, "cleaning", at);
    const to = await this.#zones.room(HOT);
    if (to < 0) return false;
    this.#zones.slice(HOT).set(this.#chunk.subarray(at, at + SET_BYTES), to);
    this.#zones.commit(HOT, number);
    this.hotMoves++;
    this.rewritten.pages++;
    return true;
  }

  /** Frees a zone; what is still alive in it is lost. */
  async #giveUp(zone: number): Promise<void> {
    if (this.#zones.alivePages(zone) > 0) {
      for (const number of this.#zones.numbersIn(zone)) {
        if (await this.#zones.read(number, this.#page)) {
          this.#stats.fates.evictedCold += entryCount(this.#page, 0);
          this.#stats.residentObjects -= entryCount(this.#page, 0);
        } else this.#stats.readErrors++;
        this.#forgetPage(number);
      }
    }
    this.#zones.free(zone);
  }

  /**
   * Writes the cold page of a bucket with what waits for it, and the hot page when its turn has come or it has an older version of
   * what waits. False, and nothing is changed, when there is no room.
   * @param inChunk where the cold page lies in the chunk that is being cleaned
   */
  async #rewrite(log: ObjectLog, set: number, cause: Cause, inChunk = -1): Promise<boolean> {
    const merge = this.#merge;
    const cold = 2 * set + COLD;
    const hot = 2 * set + HOT;
    merge.begin();
    await log.gather(set, merge);
    if (merge.oldPagesAreDoubtful) this.forget(set);
    const hasCold =
      inChunk >= 0 && this.#zones.has(cold) ? this.#fromChunk(inChunk) : await this.#load(cold, FIRST_PAGE);
    let withHot = this.#coldWrites[set] + 1 >= this.#options.hotEvery;
    let hasHot = false;
    if (this.#zones.has(hot) && (withHot || merge.mayClash(this.#filters, hot))) {
      hasHot = await this.#load(hot, SECOND_PAGE);
      withHot ||= !hasHot || merge.clashes(SECOND_PAGE);
    }
    const hotAt = withHot ? await this.#zones.room(HOT) : 0;
    const coldAt = await this.#zones.room(COLD);
    if (hotAt < 0 || coldAt < 0) return false;
    if (hasCold) merge.addPage(FIRST_PAGE, this.#hits.of(cold));
    if (hasHot && withHot) merge.addPage(SECOND_PAGE, this.#hits.of(hot));
    merge.order(withHot ? 2 : 1);
    let pages = 0;
    let bytes = 0;
    if (withHot) {
      bytes += this.#write(HOT, hot, hotAt);
      if (this.#zones.has(hot)) pages++;
      this.hotWrites++;
    }
    bytes += this.#write(COLD, cold, coldAt);
    if (this.#zones.has(cold)) pages++;
    this.#coldWrites[set] = withHot ? 0 : this.#coldWrites[set] + 1;
    log.clear(set);
    this.bucketWrites[cause]++;
    this.rewritten.count(this.#stats, merge, pages, bytes);
    return true;
  }

  /** Fills a page from the merge; an empty one is nowhere. @returns bytes of its entries */
  #write(stream: number, number: number, at: number): number {
    const slice = this.#zones.slice(stream);
    this.#merge.fill(slice, at, number, this.#filters);
    this.#hits.clear(number);
    if (entryCount(slice, at) === 0) this.#zones.forget(number);
    else this.#zones.commit(stream, number);
    return usedBytes(slice, at);
  }

  #fromChunk(at: number): true {
    this.#merge.arena.set(this.#chunk.subarray(at, at + SET_BYTES), FIRST_PAGE);
    return true;
  }

  /** False when there is no such page, or it is unreadable and forgotten. */
  async #load(number: number, at: number): Promise<boolean> {
    if (!this.#zones.has(number)) return false;
    if (await this.#zones.read(number, this.#merge.arena.subarray(at, at + SET_BYTES))) return true;
    this.#stats.readErrors++;
    this.#forgetPage(number);
    return false;
  }

  #logOf(set: number): ObjectLog {
    return this.#options.logs[set % this.#options.logs.length];
  }
}
