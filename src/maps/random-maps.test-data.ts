/** Random maps and embeddings for tests, from a seed. */
import { type MapShape, mapLength } from "./map-shape.ts";

/** Uniform numbers in [0, 1): the same for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every layer the softmax of random scores, peaked as routers are. */
export function randomMap(shape: MapShape, random: () => number): Float32Array {
  const map = new Float32Array(mapLength(shape));
  for (let layer = 0; layer < shape.layers; layer++) {
    const scores = Array.from({ length: shape.experts }, () => Math.exp(4 * random()));
    const sum = scores.reduce((a, b) => a + b, 0);
    scores.forEach((score, j) => {
      map[layer * shape.experts + j] = score / sum;
    });
  }
  return map;
}

export function randomEmbedding(shape: MapShape, random: () => number): Float32Array {
  return Float32Array.from({ length: shape.hiddenSize }, () => random() - 0.5);
}

export function layerOfMap(map: Float32Array, shape: MapShape, layer: number): Float32Array {
  return map.slice(layer * shape.experts, (layer + 1) * shape.experts);
}

export function cosine(a: ArrayLike<number>, b: ArrayLike<number>, length = a.length): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}
