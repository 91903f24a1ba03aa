/**
 * Ids of keys, and the bytes that stand for them. An id is 64 bits in two halves: of a generated key the number of its population,
 * its number there and its generation; of a key out of a trace, its hash. The bytes are made when they are wanted.
 */

/** So many bytes tell all ids apart; shorter keys of a trace are taken to be as long. */
export const MIN_KEY_BYTES = 8;
/** As CacheBench pads its keys (KVReplayGenerator). */
const PADDING = 0x30;

/** Populations of one workload; a bit of the upper half is for fresh keys, 24 are for the generation. */
export const MAX_POPULATIONS = 128;
export const MAX_GENERATIONS = 2 ** 24;
const FRESH = 0x80000000;

/** Fills `into`, whose length is the key's: at least `MIN_KEY_BYTES`. */
export function writeKey(into: Uint8Array, idLow: number, idHigh: number): void {
  into[0] = idLow;
  into[1] = idLow >>> 8;
  into[2] = idLow >>> 16;
  into[3] = idLow >>> 24;
  into[4] = idHigh;
  into[5] = idHigh >>> 8;
  into[6] = idHigh >>> 16;
  into[7] = idHigh >>> 24;
  into.fill(PADDING, MIN_KEY_BYTES);
}

/** Upper half of the id of a key that comes again. @param generation how often the key of this number was replaced */
export function recurringHigh(population: number, generation: number): number {
  return (population << 24) | generation;
}

/** Upper half of the id of a key that comes once. @param generation how often the lower half ran over */
export function freshHigh(population: number, generation: number): number {
  return (FRESH | (population << 24) | generation) >>> 0;
}

/** Whether a generated key was made to come once. */
export function isFresh(idHigh: number): boolean {
  return idHigh >= FRESH;
}

/** 32 bits in which every bit of the id counts: what is fixed for a key is drawn from them. */
export function idHash(idLow: number, idHigh: number): number {
  let hash = Math.imul(idLow ^ Math.imul(idHigh, 0x85ebca6b), 0xcc9e2d51);
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 13), 0x27d4eb2f);
  return (hash ^ (hash >>> 16)) >>> 0;
}
