/**
 * Objects in RAM, the least recently used leaving first, within a budget of bytes that counts everything. Objects lie in chains
 * of 64-byte chunks of one array, so any object fits wherever chunks are free, and there is one order of use for all sizes;
 * nothing is made for an object that a garbage collector would have to visit.
 */
import { FlashError } from "../errors.ts";
import type { HashedKey } from "../key-hash.ts";
import { ValueMemory } from "./value-memory.ts";

/** Half a chunk is lost for each object on average; smaller ones would spend more on their links. */
const CHUNK_WORDS = 16;
const CHUNK_BYTES = 4 * CHUNK_WORDS;
const NONE = -1;

// Words of a chunk: the next one of its object, then 60 bytes; of an object's first chunk also what follows, then 28 bytes.
const NEXT = 0;
const LOW = 1;
const HIGH = 2;
const NEWER = 3;
const OLDER = 4;
const NEXT_IN_BUCKET = 5;
const KEY_BYTES = 6;
const VALUE_BYTES = 7;
const FIRST_PAYLOAD = 4 * (VALUE_BYTES + 1);
const PAYLOAD = 4 * (NEXT + 1);

/** Chunk numbers are places in the array's words, which have to be 32-bit integers. */
const MOST_BYTES = 2 ** 33 - CHUNK_BYTES;

export class MemoryLru {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #buckets: Int32Array;
  readonly #chunks: number;
  readonly #valueMemory = new ValueMemory();
  #free = NONE;
  #freeChunks: number;
  #newest = NONE;
  #oldest = NONE;
  #objects = 0;

  /**
   * @param budgetBytes of everything; under a few hundred bytes nothing is ever kept
   * @throws FlashError `bad-options`
   */
  constructor(budgetBytes: number) {
    if (!(budgetBytes >= 0 && budgetBytes <= MOST_BYTES))
      throw new FlashError(
        "bad-options",
        `RAM in front of flash must be 0 to ${MOST_BYTES} bytes, not ${budgetBytes}.`,
      );
    // An object has about 5 chunks, so chains of a bucket are short with one bucket for 4 chunks or fewer.
    const buckets = 2 ** Math.max(0, Math.floor(Math.log2(budgetBytes / (4 * CHUNK_BYTES + 4) || 1)));
    this.#chunks = Math.max(0, Math.floor((budgetBytes - 4 * buckets) / CHUNK_BYTES));
    const memory = new ArrayBuffer(this.#chunks * CHUNK_BYTES);
    this.#words = new Int32Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.#buckets = new Int32Array(this.#chunks === 0 ? 1 : buckets).fill(NONE);
    this.#freeChunks = this.#chunks;
    for (let i = this.#chunks - 1; i >= 0; i--) {
      this.#words[i * CHUNK_WORDS + NEXT] = this.#free;
      this.#free = i * CHUNK_WORDS;
    }
  }

  get objects(): number {
    return this.#objects;
  }

  /** Of chunks that hold something. */
  get usedBytes(): number {
    return (this.#chunks - this.#freeChunks) * CHUNK_BYTES;
  }

  /** Of all its chunks. */
  get capacityBytes(): number {
    return this.#bytes.byteLength;
  }

  /** Of its arrays. */
  get ramBytes(): number {
    return this.#bytes.byteLength + this.#buckets.byteLength;
  }

  /** A copy, whose memory is the caller's, and the object becomes the newest. */
  get(key: HashedKey): Uint8Array | undefined {
    const entry = this.#find(key);
    if (entry === NONE) return undefined;
    if (entry !== this.#newest) {
      this.#unlink(entry);
      this.#linkNewest(entry);
    }
    return this.#valueOf(entry);
  }

  /** In place of an older value. False when it is larger than the budget: then the key is not held at all. */
  set(key: HashedKey, value: Uint8Array): boolean {
    const old = this.#find(key);
    if (old !== NONE) this.#remove(old);
    const beyondFirst = key.bytes.length + value.length - (CHUNK_BYTES - FIRST_PAYLOAD);
    const wanted = 1 + Math.max(0, Math.ceil(beyondFirst / (CHUNK_BYTES - PAYLOAD)));
    if (wanted > this.#chunks) return false;
    while (this.#freeChunks < wanted) this.#remove(this.#oldest);
    this.#insert(key, value, wanted);
    return true;
  }

  delete(key: HashedKey): boolean {
    const entry = this.#find(key);
    if (entry !== NONE) this.#remove(entry);
    return entry !== NONE;
  }

  #insert(key: HashedKey, value: Uint8Array, chunks: number): void {
    const words = this.#words;
    const entry = this.#free;
    let last = entry;
    for (let i = 1; i < chunks; i++) last = words[last + NEXT];
    this.#free = words[last + NEXT];
    words[last + NEXT] = NONE;
    this.#freeChunks -= chunks;
    this.#objects++;
    words[entry + LOW] = key.low | 0;
    words[entry + HIGH] = key.high | 0;
    words[entry + KEY_BYTES] = key.bytes.length;
    words[entry + VALUE_BYTES] = value.length;
    const bucket = this.#bucketOf(key.low | 0);
    words[entry + NEXT_IN_BUCKET] = this.#buckets[bucket];
    this.#buckets[bucket] = entry;
    this.#linkNewest(entry);
    this.#write(entry, key.bytes, value);
  }

  /** Key, then value, through the chain. Byte by byte: pieces of 60 bytes are too short for a view and `set`. */
  #write(entry: number, key: Uint8Array, value: Uint8Array): void {
    const bytes = this.#bytes;
    let part = key;
    let isKey = true;
    let i = 0;
    for (let chunk = entry, at = 4 * entry + FIRST_PAYLOAD; ; ) {
      const end = 4 * chunk + CHUNK_BYTES;
      const stop = Math.min(part.length, i + end - at);
      while (i < stop) bytes[at++] = part[i++];
      if (i === part.length) {
        if (!isKey) return;
        isKey = false;
        part = value;
        i = 0;
      } else {
        chunk = this.#words[chunk + NEXT];
        at = 4 * chunk + PAYLOAD;
      }
    }
  }

  #valueOf(entry: number): Uint8Array {
    const bytes = this.#bytes;
    const value = this.#valueMemory.take(this.#words[entry + VALUE_BYTES]);
    let skipped = this.#words[entry + KEY_BYTES];
    let chunk = entry;
    let at = 4 * entry + FIRST_PAYLOAD;
    let end = 4 * entry + CHUNK_BYTES;
    while (skipped > end - at) {
      skipped -= end - at;
      chunk = this.#words[chunk + NEXT];
      at = 4 * chunk + PAYLOAD;
      end = 4 * chunk + CHUNK_BYTES;
    }
    at += skipped;
    // An inner loop without a test for the chunk's end is twice as fast.
    for (let i = 0; ; at = 4 * chunk + PAYLOAD, end = 4 * chunk + CHUNK_BYTES) {
      const stop = Math.min(value.length, i + end - at);
      while (i < stop) value[i++] = bytes[at++];
      if (i === value.length) break;
      chunk = this.#words[chunk + NEXT];
    }
    return value;
  }

  #find(key: HashedKey): number {
    const words = this.#words;
    const low = key.low | 0;
    const high = key.high | 0;
    let entry = this.#buckets[this.#bucketOf(low)];
    while (entry !== NONE) {
      if (words[entry + LOW] === low && words[entry + HIGH] === high && this.#hasKey(entry, key.bytes)) break;
      entry = words[entry + NEXT_IN_BUCKET];
    }
    return entry;
  }

  #hasKey(entry: number, key: Uint8Array): boolean {
    if (this.#words[entry + KEY_BYTES] !== key.length) return false;
    let chunk = entry;
    let at = 4 * entry + FIRST_PAYLOAD;
    let end = 4 * entry + CHUNK_BYTES;
    for (let i = 0; i < key.length; i++) {
      if (at === end) {
        chunk = this.#words[chunk + NEXT];
        at = 4 * chunk + PAYLOAD;
        end = 4 * chunk + CHUNK_BYTES;
      }
      if (this.#bytes[at++] !== key[i]) return false;
    }
    return true;
  }

  #remove(entry: number): void {
    const words = this.#words;
    this.#unlink(entry);
    const bucket = this.#bucketOf(words[entry + LOW]);
    let before = NONE;
    for (let at = this.#buckets[bucket]; at !== entry; at = words[at + NEXT_IN_BUCKET]) before = at;
    if (before === NONE) this.#buckets[bucket] = words[entry + NEXT_IN_BUCKET];
    else words[before + NEXT_IN_BUCKET] = words[entry + NEXT_IN_BUCKET];
    let last = entry;
    let chunks = 1;
    for (; words[last + NEXT] !== NONE; chunks++) last = words[last + NEXT];
    words[last + NEXT] = this.#free;
    this.#free = entry;
    this.#freeChunks += chunks;
    this.#objects--;
  }

  #bucketOf(low: number): number {
    return low & (this.#buckets.length - 1);
  }

  #linkNewest(entry: number): void {
    const words = this.#words;
    words[entry + NEWER] = NONE;
    words[entry + OLDER] = this.#newest;
    if (this.#newest === NONE) this.#oldest = entry;
    else words[this.#newest + NEWER] = entry;
    this.#newest = entry;
  }

  #unlink(entry: number): void {
    const words = this.#words;
    const newer = words[entry + NEWER];
    const older = words[entry + OLDER];
    if (newer === NONE) this.#newest = older;
    else words[newer + OLDER] = older;
    if (older === NONE) this.#oldest = newer;
    else words[older + NEWER] = newer;
  }
}
