/**
 * Seeded random weights: the same seed gives the same file on every machine, which byte-identity tests need.
 * Not for cryptography, and not normally distributed: a uniform draw costs one step and serves as well here.
 */
/** FNV-1a of a string, so that each tensor has its own stream and adding one leaves the others as they were. */
export function seedFromText(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
/**
 * Uniform values with the given mean and standard deviation (mulberry32).
 *
 * @param count number of values
 */
export function uniformValues(seed, count, mean, deviation) {
  const values = new Float32Array(count);
  const width = deviation * Math.sqrt(12); // a uniform distribution's deviation is its width / sqrt(12)
  const low = mean - width / 2;
  let state = seed;
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    values[i] = low + (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * width;
  }
  return values;
}
