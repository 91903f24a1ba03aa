/**
 * What keeps objects on flash: five designs behind one interface. An engine answers from what it holds or with a miss, and may
 * lose any object at any time; it never answers with another key's value, and never with an older one (`consistency`).
 */
import type { HashedKey } from "./key-hash.ts";

export type EngineName = "nemo" | "set" | "log" | "kangaroo" | "fairywren";

export interface FlashEngine {
  readonly name: EngineName;
  /** Largest key + value, in bytes. */
  readonly maxObjectBytes: number;
  /** The value, in memory that stays the caller's; undefined is a miss. @throws the signal's reason, FlashError `closed` */
  get(key: HashedKey, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /**
   * Keeps a copy, in RAM until the engine writes it. False when the object is too large or the engine is read-only: the key then has
   * no older value either.
   * @throws FlashError `closed`
   */
  put(key: HashedKey, value: Uint8Array): Promise<boolean>;
  delete(key: HashedKey): Promise<void>;
  /** Writes what is in RAM as far as the design can, and syncs the device. */
  flush(): Promise<void>;
  /** Writes what the next open needs, and closes the device. */
  close(): Promise<void>;
  stats(): EngineStats;
}

/** Objects by what became of them. Together they are the objects put and kept, less those still resident. */
export interface Fates {
  /** Reached flash for the first time. */
  flushed: number;
  /** Dropped from RAM to delay a flush. */
  sacrificed: number;
  /** Left with the unit they lay in. */
  evictedCold: number;
  /** Copied from an evicted unit because they had been read. */
  writtenBackHot: number;
  /** Copied although they had not: free riders. */
  writtenBackCold: number;
  /** Refused by admission. */
  notAdmitted: number;
  /** Moved from a log to its set. */
  migrated: number;
  /** Put back at the head of a log. */
  readmitted: number;
  /** Replaced by a newer value of the same key, or deleted. */
  replaced: number;
}

/** Bytes of RAM, as the engine itself counts its arrays. */
export interface RamBytes {
  /** Index, filters and cached index pages: what finds an object. */
  index: number;
  /** What waits to be written. */
  buffers: number;
  /** Bits or counters of use. */
  hotness: number;
}

/** Since the engine was opened; counts, bytes and pages. */
export interface EngineStats {
  gets: number;
  /** Answered by what was not on flash yet. */
  hitsRam: number;
  hitsFlash: number;
  puts: number;
  /** Puts of a key that the engine knew to hold. */
  updates: number;
  deletes: number;
  /** Key + value bytes of objects put and kept: the denominator of write amplification. */
  logicalBytes: number;
  deviceBytesWritten: number;
  deviceBytesRead: number;
  indexPagesRead: number;
  setPagesRead: number;
  /** Set pages read for a filter that said yes wrongly. */
  falsePositives: number;
  /** Reads that failed or whose checksum was wrong: misses. */
  readErrors: number;
  zoneResets: number;
  residentObjects: number;
  ram: RamBytes;
  fates: Fates;
  /** Object bytes with their overhead over bytes of the units written, of new objects alone and of all; 0 before the first. */
  fillRate: { fresh: number; all: number };
  /** Bytes in RAM that a kill would lose. */
  unsavedBytes: number;
  /** Why nothing is written any more. */
  readOnly: string | undefined;
}

export function noStats(): EngineStats {
  return {
    ...{ gets: 0, hitsRam: 0, hitsFlash: 0, puts: 0, updates: 0, deletes: 0, logicalBytes: 0 },
    ...{ deviceBytesWritten: 0, deviceBytesRead: 0, indexPagesRead: 0, setPagesRead: 0, falsePositives: 0 },
    ...{ readErrors: 0, zoneResets: 0, residentObjects: 0, unsavedBytes: 0, readOnly: undefined },
    ram: { index: 0, buffers: 0, hotness: 0 },
    fates: {
      ...{ flushed: 0, sacrificed: 0, evictedCold: 0, writtenBackHot: 0, writtenBackCold: 0 },
      ...{ notAdmitted: 0, migrated: 0, readmitted: 0, replaced: 0 },
    },
    fillRate: { fresh: 0, all: 0 },
  };
}
