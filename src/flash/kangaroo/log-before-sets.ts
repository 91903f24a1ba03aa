/**
 * The hierarchical engine: a log in front of sets (Kangaroo, SOSP'21; FairyWREN, OSDI'24). What the log holds is newer than what
 * the sets hold, and what leaves the log goes to its set or is dropped only when the set has no older version: so a get never
 * answers with one. How sets are kept, and what moves there, is the `SetLayer`'s business.
 */
import type { DeviceCounters } from "../device/zone-device.ts";
import type { EngineName, EngineStats, FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { entryValue, findEntry, isTombstone, MAX_OBJECT_BYTES, SET_BYTES, TOMBSTONE } from "../format/set-page.ts";
import { type HashedKey, setNumberOf } from "../key-hash.ts";
import type { ObjectLog } from "./object-log.ts";
import { OneWriter } from "./one-writer.ts";

/** How often a get begins anew because what it was reading was moved: each time the engine has written a segment meanwhile. */
const MOST_TRIES = 8;
const NOTHING = new Uint8Array(0);
/** Answers of the log beside where an entry begins. */
const ABSENT = -1;
const UNREADABLE = -2;
const MOVED = -3;

/** What the sets of an engine do; their counts go to the engine's `stats`. */
export interface SetLayer {
  /** Numbers of sets that keys are spread over. */
  readonly sets: number;
  /** False only when the set does not hold the key. */
  mayHold(set: number, key: HashedKey): boolean;
  /** The value in the set; a read that fails is a miss. */
  get(set: number, key: HashedKey): Promise<Uint8Array | undefined>;
  /** Empties the set without writing. */
  forget(set: number): void;
  /** Moves or drops all that is alive in the log's oldest segment, which is loaded. */
  emptyOldest(log: ObjectLog): Promise<void>;
  /** Writes what waits in RAM. */
  flush(): Promise<void>;
  indexBytes(): number;
  bufferBytes(): number;
  hotnessBytes(): number;
  unsavedBytes(): number;
  fillRate(): EngineStats["fillRate"];
}

/** A device, as far as the engine's end is concerned. */
export interface EngineDevice {
  readonly counters: Readonly<DeviceCounters>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface LogBeforeSetsParts {
  readonly name: EngineName;
  /** Set s waits in log s % logs. */
  readonly logs: readonly ObjectLog[];
  readonly sets: SetLayer;
  readonly stats: EngineStats;
  readonly devices: readonly EngineDevice[];
  /** Whether a new object is let in. */
  readonly admits: () => boolean;
}

export class LogBeforeSets implements FlashEngine {
  readonly name: EngineName;
  readonly maxObjectBytes = MAX_OBJECT_BYTES;
  readonly #logs: readonly ObjectLog[];
  readonly #sets: SetLayer;
  readonly #stats: EngineStats;
  readonly #devices: readonly EngineDevice[];
  readonly #before: readonly DeviceCounters[];
  readonly #admits: () => boolean;
  readonly #writer = new OneWriter();
  #closed = false;

  constructor({ name, logs, sets, stats, devices, admits }: LogBeforeSetsParts) {
    this.name = name;
    this.#logs = logs;
    this.#sets = sets;
    this.#stats = stats;
    this.#devices = devices;
    this.#before = devices.map(({ counters }) => ({ ...counters }));
    this.#admits = admits;
  }

  async get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.#alive();
    signal?.throwIfAborted();
    this.#stats.gets++;
    const set = setNumberOf(key, this.#sets.sets);
    const log = this.#logOf(set);
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const buffered = log.findInBuffer(set, key);
      if (buffered >= 0) {
        if (isTombstone(log.ring.buffer, buffered)) return undefined;
        this.#stats.hitsRam++;
        return entryValue(log.ring.buffer, buffered);
      }
      const pages = log.candidates(set, key);
      if (pages.length > 0) {
        const page = new Uint8Array(SET_BYTES);
        const answer = await this.#findOnFlash(log, set, key, pages, page);
        signal?.throwIfAborted();
        if (answer === MOVED) continue;
        // The key may be in what cannot be read: what the set has would be older.
        if (answer === UNREADABLE) return undefined;
        if (answer !== ABSENT) return isTombstone(page, answer) ? undefined : entryValue(page, answer);
      }
      const value = await this.#sets.get(set, key);
      signal?.throwIfAborted();
      return value;
    }
    return undefined;
  }

  async put(key: HashedKey, value: Uint8Array): Promise<boolean> {
    this.#alive();
    this.#stats.puts++;
    if (key.bytes.length + value.length > this.maxObjectBytes) {
      await this.#invalidate(key);
      return false;
    }
    if (!this.#admits()) {
      this.#stats.fates.notAdmitted++;
      await this.#invalidate(key);
      return true;
    }
    const set = setNumberOf(key, this.#sets.sets);
    if (!this.#writer.busy && this.#stats.readOnly === undefined && this.#append(set, key, value, 0)) return true;
    return this.#writer.run(() => this.#write(set, key, value, 0));
  }

  async delete(key: HashedKey): Promise<void> {
    this.#alive();
    this.#stats.deletes++;
    await this.#invalidate(key);
  }

  /** Writes the open segments as they are, part empty: for a design that finds nothing after a restart this only makes room in RAM. */
  flush(): Promise<void> {
    this.#alive();
    return this.#writer.run(async () => {
      if (this.#stats.readOnly !== undefined) return;
      await this.#writing(async () => {
        for (const log of this.#logs) if (log.ring.openPages > 0) await this.#makeRoom(log);
        await this.#sets.flush();
        for (const device of this.#devices) await device.sync();
      });
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.run(async () => {
      for (const device of this.#devices) await device.close();
    });
  }

  /** `residentObjects` still counts what pages held that could not be read or, read-only, were forgotten. */
  stats(): EngineStats {
    const stats = this.#stats;
    const written = { ...stats, fates: { ...stats.fates }, fillRate: this.#sets.fillRate() };
    written.deviceBytesWritten = this.#counted("hostBytesWritten");
    written.deviceBytesRead = this.#counted("hostBytesRead");
    written.zoneResets = this.#counted("resets");
    written.ram = {
      index: this.#sum((log) => log.indexBytes) + this.#sets.indexBytes(),
      // The buffer that a retired segment is read into is one for all logs.
      buffers: this.#sum((log) => log.ring.buffer.length) + this.#logs[0].oldest.length + this.#sets.bufferBytes(),
      hotness: this.#sets.hotnessBytes(),
    };
    written.unsavedBytes = this.#sum((log) => log.ring.unsavedBytes) + this.#sets.unsavedBytes();
    return written;
  }

  /** Where in `page` the key's newest entry begins, or why it does not. */
  async #findOnFlash(
    log: ObjectLog,
    set: number,
    key: HashedKey,
    pages: readonly number[],
    page: Uint8Array,
  ): Promise<number> {
    const retired = log.ring.retired;
    for (const candidate of pages) {
      this.#stats.setPagesRead++;
      const sound = await log.ring.read(candidate, page);
      const entry = sound ? findEntry(page, 0, key) : UNREADABLE;
      if (entry >= 0) {
        log.used(set, key, candidate);
        if (!isTombstone(page, entry)) this.#stats.hitsFlash++;
        return entry;
      }
      if (log.ring.retired !== retired) return MOVED;
      if (!sound) {
        this.#stats.readErrors++;
        return UNREADABLE;
      }
      this.#stats.falsePositives++;
    }
    return ABSENT;
  }

  /** Keeps the object when the open segment has room for it. */
  #append(set: number, key: HashedKey, value: Uint8Array, flags: number): boolean {
    const kept = this.#logOf(set).put(set, key, value, flags);
    if (kept === "none") return false;
    const stats = this.#stats;
    if (kept === "replaced") {
      stats.fates.replaced++;
      stats.residentObjects--;
    }
    if (flags === TOMBSTONE) return true;
    if (kept === "replaced") stats.updates++;
    stats.residentObjects++;
    stats.logicalBytes += key.bytes.length + value.length;
    return true;
  }

  /** As `#append`, making room. Call it in the writer's turn. False when the engine is read-only. */
  async #write(set: number, key: HashedKey, value: Uint8Array, flags: number): Promise<boolean> {
    const log = this.#logOf(set);
    while (this.#stats.readOnly === undefined) {
      if (this.#append(set, key, value, flags)) return true;
      await this.#writing(() =>
        log.hasRoom(set) || !log.ring.holdsSegments ? this.#makeRoom(log) : this.#emptyOldest(log),
      );
    }
    // Nothing can be written any more, so that older versions can only be forgotten, and others with them.
    this.#sets.forget(set);
    const forgotten = log.forget(set, key);
    this.#stats.fates.evictedCold += forgotten;
    this.#stats.residentObjects -= forgotten;
    return false;
  }

  /** Puts an end to every older version of the key. */
  async #invalidate(key: HashedKey): Promise<void> {
    // No page holds such a key, nor a tombstone of it: making room for one would never end.
    if (key.bytes.length > MAX_OBJECT_BYTES) return;
    const set = setNumberOf(key, this.#sets.sets);
    if (!this.#writer.busy) {
      if (!this.#mayHold(set, key)) return;
      if (this.#stats.readOnly === undefined && this.#append(set, key, NOTHING, TOMBSTONE)) return;
    }
    await this.#writer.run(async () => this.#mayHold(set, key) && this.#write(set, key, NOTHING, TOMBSTONE));
  }

  #mayHold(set: number, key: HashedKey): boolean {
    return this.#logOf(set).mayHold(set, key) || this.#sets.mayHold(set, key);
  }

  async #makeRoom(log: ObjectLog): Promise<void> {
    this.#stats.fates.flushed += await log.write();
    while (log.ring.full) await this.#emptyOldest(log);
  }

  async #emptyOldest(log: ObjectLog): Promise<void> {
    this.#stats.readErrors += await log.loadOldest();
    await this.#sets.emptyOldest(log);
    log.retireOldest();
  }

  /** A device that cannot be written to, or cannot clean itself for it, ends all writing and nothing else. */
  async #writing(job: () => Promise<void>): Promise<void> {
    try {
      await job();
    } catch (error) {
      if (!(error instanceof FlashError) || (error.kind !== "read-only" && error.kind !== "read-failed")) throw error;
      this.#stats.readOnly = error.message;
    }
  }

  #logOf(set: number): ObjectLog {
    return this.#logs[set % this.#logs.length];
  }

  #sum(bytesOf: (log: ObjectLog) => number): number {
    return this.#logs.reduce((sum, log) => sum + bytesOf(log), 0);
  }

  #counted(counter: "hostBytesWritten" | "hostBytesRead" | "resets"): number {
    return this.#devices.reduce((sum, { counters }, i) => sum + counters[counter] - this.#before[i][counter], 0);
  }

  #alive(): void {
    if (this.#closed) throw new FlashError("closed", `this ${this.name} cache was closed`);
  }
}
