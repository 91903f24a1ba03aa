/**
 * For tests: an engine beside a plain map. A get may miss; what it answers must be the value that the last put before it gave, or
 * one put since. Values tell their key and version, so that an old one is seen for what it is.
 */

import { Randomness } from "../../predict/randomness.ts";
import type { EngineStats, FlashEngine } from "../engine.ts";
import { type HashedKey, hashKey } from "../key-hash.ts";

export interface AgainstMapOptions {
  readonly seed: number;
  readonly steps: number;
  readonly keys: number;
  /** @default 300 */
  readonly meanBytes?: number;
  /** Called before each step. */
  readonly before?: (step: number) => void;
}

export interface AgainstMapCounts {
  hits: number;
  misses: number;
}

/** @throws Error when the engine answers with what it must not */
export async function againstMap(engine: FlashEngine, options: AgainstMapOptions): Promise<AgainstMapCounts> {
  const { seed, steps, keys, meanBytes = 300, before } = options;
  const random = new Randomness(seed);
  /** Per key, the oldest version that may be answered: one not yet given where the key is gone. */
  const oldest = new Map<number, number>();
  const counts = { hits: 0, misses: 0 };
  const waiting: Promise<void>[] = [];
  let version = 0;
  for (let step = 0; step < steps; step++) {
    before?.(step);
    // Squared, so that some keys come often.
    const number = Math.floor(random.next() ** 2 * keys);
    const key = keyOf(number);
    const act = random.next();
    if (act < 0.45) {
      version++;
      const large = random.next() < 0.005;
      const value = versionedValue(number, version, large ? 5000 : Math.floor(random.next() * 2 * meanBytes));
      const kept = await engine.put(key, value);
      // Refused or not, older versions are gone.
      oldest.set(number, kept ? version : version + 1);
    } else if (act < 0.55) {
      await engine.delete(key);
      oldest.set(number, version + 1);
    } else if (act < 0.56) await engine.flush();
    else {
      const atLeast = oldest.get(number) ?? version + 1;
      const get = engine.get(key).then((value) => {
        if (value === undefined) counts.misses++;
        else {
          checkValue(number, value, atLeast);
          counts.hits++;
        }
      });
      // Some gets run on beside later puts.
      if (act < 0.8) waiting.push(get);
      else await get;
    }
    if (waiting.length > 16) await Promise.all(waiting.splice(0));
  }
  await Promise.all(waiting);
  return counts;
}

/** What must hold of any engine's counts that drops nothing silently. */
export function residentsByFates({ fates }: EngineStats, kept: number): number {
  return kept - fates.replaced - fates.evictedCold - fates.sacrificed;
}

export function keyOf(number: number): HashedKey {
  return hashKey(new TextEncoder().encode(`key ${number}`));
}

export function versionedValue(number: number, version: number, bytes: number): Uint8Array {
  return new TextEncoder().encode(`${number} ${version} `.padEnd(bytes, "x"));
}

function checkValue(number: number, value: Uint8Array, atLeast: number): void {
  const [owner, version] = new TextDecoder().decode(value).split(" ").map(Number);
  if (owner === number && version >= atLeast) return;
  throw new Error(`key ${number} was answered with version ${version} of ${owner}: expected ${atLeast} or newer`);
}
