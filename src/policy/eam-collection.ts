/**
 * MoE-Infinity's memory: expert activation matrices (EAMs, token counts per layer and expert) of past requests, a bounded
 * collection of them, and how alike each is to that of the request under way. Cosines are kept up with each count that is
 * added, so that finding the most alike costs one look per entry. It predicts nothing; `moe-infinity.ts` does.
 */

export interface EamCollectionOptions {
  readonly layers: number;
  readonly experts: number;
  /** Entries at most. */
  readonly capacity: number;
  /** What a full collection gives up: the entry most like the new one, or the one that was found most alike least often. */
  readonly replace: "similar" | "least-accessed";
}

interface Entry {
  /** [layers * experts] */
  readonly counts: Float32Array;
  /** [layers] 1 / the sum of a layer's counts, 0 where it has none. */
  readonly perToken: Float32Array;
  norm: number;
  /** Sum over its counts times those of the request under way. */
  product: number;
  accesses: number;
}

export class EamCollection {
  readonly #layers: number;
  readonly #experts: number;
  readonly #capacity: number;
  readonly #replace: "similar" | "least-accessed";
  readonly #entries: Entry[] = [];
  /** Of the request under way. */
  readonly #counts: Float64Array;
  #squares = 0;

  constructor({ layers, experts, capacity, replace }: EamCollectionOptions) {
    this.#layers = layers;
    this.#experts = experts;
    this.#capacity = capacity;
    this.#replace = replace;
    this.#counts = new Float64Array(layers * experts);
  }

  get size(): number {
    return this.#entries.length;
  }

  /** The request under way has used this expert for so many tokens more. */
  add(key: number, tokens: number): void {
    const before = this.#counts[key] as number;
    this.#counts[key] = before + tokens;
    this.#squares += (2 * before + tokens) * tokens;
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      entry.product += tokens * (entry.counts[key] as number);
    }
  }

  /** Cosine of the flattened matrices of an entry and of the request under way, 0..1; 0 while that has used nothing. */
  similarity(index: number): number {
    const { product, norm } = this.#entries[index] as Entry;
    return this.#squares === 0 ? 0 : product / (norm * Math.sqrt(this.#squares));
  }

  /**
   * Writes the indices of the most alike entries into `into`, best first, between equals the first. Returns how many:
   * the size at most.
   */
  mostAlike(into: Int32Array): number {
    let found = 0;
    for (let i = 0; i < this.#entries.length; i++) {
      const similarity = this.similarity(i);
      let rank = found;
      while (rank > 0 && similarity > this.similarity(into[rank - 1] as number)) rank--;
      if (rank === into.length) continue;
      if (found < into.length) found++;
      into.copyWithin(rank + 1, rank, found - 1);
      into[rank] = i;
    }
    return found;
  }

  /** An entry served a prediction. */
  accessed(index: number): void {
    (this.#entries[index] as Entry).accesses++;
  }

  /** Adds `weight` times the entry's rows, each made to sum to 1, to `into` [layers * experts]. */
  addShares(index: number, weight: number, into: Float64Array): void {
    const { counts, perToken } = this.#entries[index] as Entry;
    for (let layer = 0, key = 0; layer < this.#layers; layer++) {
      const scale = weight * (perToken[layer] as number);
      for (let end = key + this.#experts; key < end; key++)
        into[key] = (into[key] as number) + scale * (counts[key] as number);
    }
  }

  /** The request under way is over: keeps its matrix, unless it has used nothing, and starts with an empty one. */
  finish(): void {
    if (this.#squares > 0) this.#keep(this.#counts);
    this.#counts.fill(0);
    this.#squares = 0;
    for (const entry of this.#entries) entry.product = 0;
  }

  /** All entries' counts, one after the other. */
  saved(): Float32Array {
    const length = this.#counts.length;
    const all = new Float32Array(this.#entries.length * length);
    for (const [i, { counts }] of this.#entries.entries()) all.set(counts, i * length);
    return all;
  }

  /** Takes the last `capacity` of what `saved` returned. */
  restore(all: Float32Array): void {
    const length = this.#counts.length;
    const count = all.length / length;
    for (let i = Math.max(0, count - this.#capacity); i < count; i++)
      this.#keep(all.subarray(i * length, (i + 1) * length));
  }

  #keep(counts: Float32Array | Float64Array): void {
    const entry = this.#entryFor();
    entry.counts.set(counts);
    let squares = 0;
    for (let layer = 0, key = 0; layer < this.#layers; layer++) {
      let sum = 0;
      for (let end = key + this.#experts; key < end; key++) {
        const count = counts[key] as number;
        sum += count;
        squares += count * count;
      }
      entry.perToken[layer] = sum > 0 ? 1 / sum : 0;
    }
    entry.norm = Math.sqrt(squares);
    entry.accesses = 0;
    entry.product = 0;
  }

  #entryFor(): Entry {
    if (this.#entries.length < this.#capacity) {
      const entry: Entry = {
        counts: new Float32Array(this.#counts.length),
        perToken: new Float32Array(this.#layers),
        norm: 0,
        product: 0,
        accesses: 0,
      };
      this.#entries.push(entry);
      return entry;
    }
    let chosen = 0;
    for (let i = 1; i < this.#entries.length; i++) {
      const better =
        this.#replace === "similar"
          ? this.similarity(i) > this.similarity(chosen)
          : (this.#entries[i] as Entry).accesses < (this.#entries[chosen] as Entry).accesses;
      if (better) chosen = i;
    }
    return this.#entries[chosen] as Entry;
  }
}
