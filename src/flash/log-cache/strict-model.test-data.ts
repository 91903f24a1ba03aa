/**
 * What an engine may answer, for tests: a plain map of every version that was put. Losing an object is allowed at any time; another
 * key's value, a value never put, or one older than allowed is not.
 */

import type { Randomness } from "../../predict/randomness.ts";
import type { FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { type HashedKey, hashKey } from "../key-hash.ts";

interface Versions {
  /** Undefined: deleted. Version 0 is the absence before the first put. */
  readonly values: (Uint8Array | undefined)[];
  /** The oldest that a process may see that opens the cache after this one was killed: the last one that was flushed. */
  safe: number;
  /** Whether the newest is the only one that may be seen: it was put, or seen, since the last kill. */
  certain: boolean;
}

export class StrictModel {
  readonly #keys = new Map<number, Versions>();
  #serial = 0;

  /** Gets a key and throws if the answer is not allowed. */
  async check(engine: FlashEngine, key: number): Promise<"hit" | "miss"> {
    const answer = await engine.get(keyOf(key));
    const versions = this.#of(key);
    const { values } = versions;
    if (answer === undefined) return "miss";
    let seen = values.length - 1;
    while (seen >= 0 && !same(values[seen], answer)) seen--;
    const oldest = versions.certain ? values.length - 1 : versions.safe;
    if (seen < oldest) {
      const told = seen < 0 ? "a value never put" : `version ${seen}`;
      throw new Error(`key ${key}: ${told} instead of version ${oldest} to ${values.length - 1}`);
    }
    // What is lost is lost: after a kill the version that was found is the newest one.
    values.length = seen + 1;
    versions.certain = true;
    return "hit";
  }

  async put(engine: FlashEngine, key: number, valueBytes: number): Promise<void> {
    const value = new Uint8Array(valueBytes).fill(key ^ 0x5a);
    const stamp = ++this.#serial;
    // Values of 4 bytes and more are all different.
    for (let i = 0; i < Math.min(4, valueBytes); i++) value[i] = stamp >>> (8 * i);
    const versions = this.#of(key);
    const kept = await engine.put(keyOf(key), value);
    versions.values.push(value);
    // Refused, it is not to be seen; but a write that failed may have left it on flash, where the next process finds it.
    if (!kept) versions.values.push(undefined);
    versions.certain = true;
  }

  async delete(engine: FlashEngine, key: number): Promise<void> {
    await engine.delete(keyOf(key));
    const versions = this.#of(key);
    versions.values.push(undefined);
    versions.certain = true;
  }

  /** The engine has written everything. */
  flushed(): void {
    // What was lost with a kill and not looked at since is not in this engine to be written.
    for (const versions of this.#keys.values()) if (versions.certain) versions.safe = versions.values.length - 1;
  }

  /** The process is gone, with what it had not written. */
  killed(): void {
    for (const versions of this.#keys.values()) versions.certain = false;
  }

  get keys(): Iterable<number> {
    return this.#keys.keys();
  }

  #of(key: number): Versions {
    let versions = this.#keys.get(key);
    if (versions === undefined) {
      versions = { values: [undefined], safe: 0, certain: true };
      this.#keys.set(key, versions);
    }
    return versions;
  }
}

export interface RandomUse {
  readonly keys: number;
  readonly operations: number;
  readonly mostValueBytes: number;
}

/** Puts, gets, deletes and now and then a flush. Ends early, and returns false, when the device has stopped. */
export async function useAtRandom(
  engine: FlashEngine,
  model: StrictModel,
  random: Randomness,
  use: RandomUse,
): Promise<boolean> {
  for (let i = 0; i < use.operations; i++) {
    const key = Math.floor(random.next() * use.keys);
    const action = random.next();
    if (action < 0.45) await model.put(engine, key, Math.floor(random.next() ** 2 * use.mostValueBytes));
    else if (action < 0.9) await model.check(engine, key);
    else if (action < 0.98) await model.delete(engine, key);
    else await flushIfPossible(engine, model);
    if (engine.stats().readOnly !== undefined) return false;
  }
  return true;
}

export async function flushIfPossible(engine: FlashEngine, model: StrictModel): Promise<void> {
  try {
    await engine.flush();
    model.flushed();
  } catch (error) {
    if (!(error instanceof FlashError) || error.kind !== "read-only") throw error;
  }
}

const knownKeys: HashedKey[] = [];

/** Another length for every seventh key, so that lengths matter in comparing. */
export function keyOf(number: number): HashedKey {
  knownKeys[number] ??= hashKey(new TextEncoder().encode(`${number % 7 === 0 ? "a-longer-key-" : ""}k${number}`));
  return knownKeys[number];
}

function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}
