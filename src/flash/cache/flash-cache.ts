/**
 * The cache that users of the library hold: RAM in front, admission, time to live and salt over any engine. It writes through: what
 * is set goes to RAM and, if admitted, to the engine at once, which gathers it into large writes. It is no store: any object may be
 * gone at any time; an object that is there is the one set last.
 */
import type { EngineName, EngineStats, FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { type HashedKey, hashKey } from "../key-hash.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { MemoryLru } from "./memory-lru.ts";
import { RecentMisses } from "./recent-misses.ts";
import { MOST_SEAL_BYTES, openValue, type Salt, saltOf, sealValue } from "./sealed-value.ts";
import { ValueMemory } from "./value-memory.ts";

export interface FlashCacheOptions {
  /** RAM in front of the engine, bytes; 0: none. @default 0 */
  readonly ramBytes?: number;
  /** Values put under another salt are never seen: a model's name, a version. @default "" */
  readonly salt?: string;
  /** What goes to flash: everything, or what is set for the second time. @default "all" */
  readonly admission?: "all" | "second-sight";
  /** With `second-sight`: how many keys it remembers at least; 2.5 bytes of RAM for each. @default 100,000 */
  readonly rememberedKeys?: number;
  /** Time to live of values that are set without one, ms. @default for ever */
  readonly ttlMs?: number;
}

export interface SetOptions {
  /** Time to live, ms. @default the cache's */
  readonly ttlMs?: number;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** Since the cache was opened. */
export interface FlashCacheStats {
  readonly gets: number;
  readonly hits: number;
  /** Of them, answered by the RAM in front. */
  readonly ramHits: number;
  /** Found, but past their time: misses. */
  readonly expired: number;
  readonly sets: number;
  readonly deletes: number;
  /** Sets that admission kept from flash. */
  readonly notAdmitted: number;
  /** Of this class's own arrays; the engine's are in `engine.ram`. */
  readonly ramBytes: { readonly objects: number; readonly admission: number };
  readonly engine: EngineStats;
}

/** Races between a read and a write of one key are told by counters of writes begun and ended, shared by keys of like hash. */
const WRITE_COUNTERS = 4096;

export class FlashCache implements AsyncDisposable {
  readonly #engine: FlashEngine;
  readonly #ram: MemoryLru;
  readonly #salt: Salt;
  readonly #doorkeeper: Doorkeeper | undefined;
  readonly #memory = new ValueMemory();
  readonly #misses = new RecentMisses();
  readonly #begun = new Uint32Array(WRITE_COUNTERS);
  readonly #ended = new Uint32Array(WRITE_COUNTERS);
  readonly #ttlMs: number | undefined;
  readonly #counts = { gets: 0, ramHits: 0, flashHits: 0, expired: 0, sets: 0, deletes: 0, notAdmitted: 0 };
  #closing: Promise<void> | undefined;

  /**
   * @param engine becomes the cache's own, which closes it
   * @throws FlashError `bad-options`
   */
  constructor(engine: FlashEngine, options: FlashCacheOptions = {}) {
    this.#engine = engine;
    this.#ram = new MemoryLru(options.ramBytes ?? 0);
    this.#salt = saltOf(options.salt ?? "");
    this.#ttlMs = options.ttlMs;
    if (options.admission === "second-sight") this.#doorkeeper = new Doorkeeper(options.rememberedKeys ?? 100_000);
    if (options.ttlMs !== undefined) expiryOf(options.ttlMs);
  }

  get engineName(): EngineName {
    return this.#engine.name;
  }

  /** Key and value together, at most, for flash. */
  get maxObjectBytes(): number {
    return this.#engine.maxObjectBytes - MOST_SEAL_BYTES;
  }

  /**
   * The value, in memory that is the caller's; undefined: not there, or no longer.
   * @throws the signal's reason, FlashError `closed`
   */
  async get(key: Uint8Array, { signal }: ReadOptions = {}): Promise<Uint8Array | undefined> {
    this.#check(signal);
    const hashed = hashKey(key, this.#salt.hash);
    this.#counts.gets++;
    const held = this.#ram.get(hashed);
    if (held !== undefined) {
      const value = this.#opened(hashed, held);
      if (value !== undefined) this.#counts.ramHits++;
      return value;
    }
    const counter = hashed.low % WRITE_COUNTERS;
    const ended = this.#ended[counter];
    const sealed = await this.#engine.get(hashed, signal);
    // No write was under way when the read began, and none has begun since: engines may keep a put waiting for their device.
    const unchanged = this.#begun[counter] === ended;
    if (sealed === undefined) {
      if (unchanged) this.#misses.missed(hashed);
      return undefined;
    }
    const value = this.#opened(hashed, sealed);
    if (value === undefined) return undefined;
    this.#counts.flashHits++;
    // Set or deleted meanwhile: what was read is true of the time of the call, but must not hide the newer value.
    if (unchanged) this.#ram.set(hashed, sealed);
    return value;
  }

  /** The values of all keys, read side by side. @throws like `get`, with the first error */
  async getMany(keys: readonly Uint8Array[], options: ReadOptions = {}): Promise<(Uint8Array | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key, options)));
  }

  /**
   * Keeps a copy of the value. False when it is kept nowhere: too large, not admitted to flash, or flash is read-only, and there is
   * no room in RAM. The key then has no older value either.
   * @throws FlashError `closed`; `bad-options` for a time to live that is no positive number
   */
  async set(key: Uint8Array, value: Uint8Array, { ttlMs = this.#ttlMs }: SetOptions = {}): Promise<boolean> {
    this.#check();
    const expiresAtMs = ttlMs === undefined ? undefined : expiryOf(ttlMs);
    const hashed = hashKey(key, this.#salt.hash);
    const sealed = sealValue(value, this.#salt, expiresAtMs, this.#memory);
    this.#counts.sets++;
    const counter = hashed.low % WRITE_COUNTERS;
    this.#begun[counter]++;
    try {
      const inRam = this.#ram.set(hashed, sealed);
      const onFlash = await this.#setOnFlash(hashed, sealed);
      return inRam || onFlash;
    } finally {
      this.#ended[counter]++;
    }
  }

  /** False when flash holds no value of the key any more. */
  async #setOnFlash(key: HashedKey, sealed: Uint8Array): Promise<boolean> {
    const admitted = this.#doorkeeper === undefined || this.#doorkeeper.see(key);
    if (!admitted) this.#counts.notAdmitted++;
    // A key that was just missed has no value on flash that this one would have to replace.
    const isNew = this.#misses.has(key);
    if (!admitted && isNew) return false;
    this.#misses.forget(key);
    if (admitted) return await this.#engine.put(key, sealed);
    await this.#engine.delete(key);
    return false;
  }

  /** @throws FlashError `closed` */
  async delete(key: Uint8Array): Promise<void> {
    this.#check();
    const hashed = hashKey(key, this.#salt.hash);
    this.#counts.deletes++;
    const counter = hashed.low % WRITE_COUNTERS;
    this.#begun[counter]++;
    this.#ram.delete(hashed);
    try {
      await this.#engine.delete(hashed);
    } finally {
      this.#ended[counter]++;
    }
  }

  /** Writes what waits in RAM as far as the engine can. @throws FlashError `closed`, `read-only` */
  async flush(): Promise<void> {
    this.#check();
    await this.#engine.flush();
  }

  /** Writes what the next open needs. A second call waits for the first. */
  async close(): Promise<void> {
    this.#closing ??= this.#engine.close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  stats(): FlashCacheStats {
    const { gets, ramHits, flashHits, expired, sets, deletes, notAdmitted } = this.#counts;
    return {
      ...{ gets, hits: ramHits + flashHits, ramHits, expired, sets, deletes, notAdmitted },
      ramBytes: {
        objects: this.#ram.ramBytes,
        admission: (this.#doorkeeper?.ramBytes ?? 0) + this.#misses.ramBytes + 2 * this.#begun.byteLength,
      },
      engine: this.#engine.stats(),
    };
  }

  #opened(key: HashedKey, sealed: Uint8Array): Uint8Array | undefined {
    const value = openValue(sealed, this.#salt);
    if (typeof value !== "string") return value;
    if (value === "expired") this.#counts.expired++;
    this.#ram.delete(key);
    return undefined;
  }

  #check(signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.#closing !== undefined)
      throw new FlashError("closed", "The flash cache was closed; open it again to use it.");
  }
}

/** @throws FlashError `bad-options` */
function expiryOf(ttlMs: number): number {
  if (!(ttlMs > 0 && ttlMs < 2 ** 46))
    throw new FlashError("bad-options", `A time to live is more than 0 ms and less than 2,000 years, not ${ttlMs} ms.`);
  return Math.ceil(Date.now() + ttlMs);
}
