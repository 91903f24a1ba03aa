/**
 * One kind of objects in a workload: keys that come again by Zipf's law, keys that come once, their sizes and what is done with
 * them. Nothing is kept for a key: its rank gives its number, and its id gives its sizes.
 */
import type { Randomness } from "../../predict/randomness.ts";
import { FlashError } from "../errors.ts";
import { DELETE, type EventBatch, GET, SET } from "./event-batch.ts";
import { checkGradualChange, type GradualChange, KeyChurn, RankDrift } from "./gradual-change.ts";
import { freshHigh, idHash, MAX_GENERATIONS, MIN_KEY_BYTES, recurringHigh } from "./key-bytes.ts";
import { type SizeModel, SizeTable } from "./object-size.ts";
import { RankPermutation } from "./rank-permutation.ts";
import { Zipf } from "./zipf.ts";

/** Drawn once for each key, from its id. */
export interface ObjectSizes {
  /** At least 8 bytes. */
  readonly key: SizeModel;
  /** What `bytes` measures. An object shorter than its key becomes the key with an empty value. */
  readonly measured: "object" | "value";
  readonly bytes: SizeModel;
}

/** Weights: they need not add up to 1. */
export interface OperationWeights {
  readonly get: number;
  readonly set: number;
  readonly delete: number;
}

export const GETS_ONLY: OperationWeights = { get: 1, set: 0, delete: 0 };

export interface PopulationSpec {
  readonly name: string;
  /** Keys that come again: 1 to 2^31 - 1. */
  readonly keys: number;
  /** Exponent of Zipf's law over them, more than 0. */
  readonly alpha: number;
  /** Share of events that go to a key that comes this once, from 0 to 1. Deletes never do. */
  readonly freshShare: number;
  /** Share of the workload's events, as a weight. */
  readonly weight: number;
  readonly sizes: ObjectSizes;
  /** @default gets only */
  readonly operations?: OperationWeights;
}

export interface Changes {
  readonly drift?: GradualChange;
  readonly churn?: GradualChange;
}

export class Population {
  readonly #number: number;
  readonly #keys: number;
  readonly #zipf: Zipf;
  readonly #keyBytes: SizeTable;
  readonly #bytes: SizeTable;
  readonly #isObject: boolean;
  /** Up to which draw an event is a delete, or a delete or set. */
  readonly #deletes: number;
  readonly #writes: number;
  /** Chance that an event other than a delete is fresh. */
  readonly #freshShare: number;
  readonly #drift: RankDrift | undefined;
  readonly #churn: KeyChurn | undefined;
  #permutation: RankPermutation;
  #freshLow = 0;
  #freshGeneration = 0;

  /** @throws FlashError `bad-options` */
  constructor(spec: PopulationSpec, number: number, random: Randomness, { drift, churn }: Changes) {
    const { keys, alpha, sizes, operations = GETS_ONLY } = spec;
    this.#number = number;
    this.#keys = keys;
    this.#zipf = new Zipf(keys, alpha);
    this.#keyBytes = new SizeTable(sizes.key);
    this.#bytes = new SizeTable(sizes.bytes);
    this.#isObject = sizes.measured === "object";
    const all = operations.get + operations.set + operations.delete;
    this.#deletes = operations.delete / all;
    this.#writes = (operations.delete + operations.set) / all;
    this.#freshShare = spec.freshShare / (1 - this.#deletes);
    check(spec, operations, this.#freshShare);
    if (drift !== undefined) checkGradualChange("drift", drift, keys);
    if (churn !== undefined) checkGradualChange("churn", churn, keys);
    this.#permutation = new RankPermutation(keys, random);
    this.#drift = drift && new RankDrift(drift, keys, random);
    this.#churn = churn && new KeyChurn(churn, random);
  }

  /** One event, into place `i` of the batch. */
  draw(batch: EventBatch, i: number, random: Randomness): void {
    let operation = GET;
    if (this.#writes > 0) {
      const drawn = random.next();
      if (drawn < this.#writes) operation = drawn < this.#deletes ? DELETE : SET;
    }
    let low: number;
    let high: number;
    if (this.#freshShare > 0 && operation !== DELETE && random.next() < this.#freshShare) {
      low = this.#freshLow;
      high = freshHigh(this.#number, this.#freshGeneration);
      this.#freshLow = (low + 1) >>> 0;
      if (this.#freshLow === 0) this.#freshGeneration = (this.#freshGeneration + 1) % MAX_GENERATIONS;
    } else {
      const rank = this.#zipf.next(random);
      low = this.keyAt(rank);
      high = recurringHigh(this.#number, this.#churn === undefined ? 0 : this.#churn.generationOf(low));
    }
    // The lower bits give the key's length and the upper ones the size, so that the two know nothing of each other.
    const hash = idHash(low, high);
    const keyBytes = Math.max(MIN_KEY_BYTES, this.#keyBytes.ofLower(hash));
    const bytes = this.#bytes.ofUpper(hash);
    batch.idLow[i] = low;
    batch.idHigh[i] = high;
    batch.operation[i] = operation;
    batch.keyBytes[i] = keyBytes;
    batch.objectBytes[i] = this.#isObject ? Math.max(bytes, keyBytes) : keyBytes + bytes;
  }

  /** Number of the key that has this rank of popularity now. @param rank 0 to `keys` - 1 */
  keyAt(rank: number): number {
    return this.#permutation.keyOf(this.#drift === undefined ? rank : this.#drift.originOf(rank));
  }

  stepDrift(): void {
    this.#drift?.step();
  }

  stepChurn(): void {
    this.#churn?.step();
  }

  /** Another key at every rank. */
  nextPhase(random: Randomness): void {
    this.#permutation = new RankPermutation(this.#keys, random);
  }
}

function check(spec: PopulationSpec, operations: OperationWeights, freshShare: number): void {
  const weights = [operations.get, operations.set, operations.delete];
  if (!weights.every((weight) => weight >= 0 && Number.isFinite(weight)) || !(operations.get + operations.set > 0))
    throw new FlashError("bad-options", `${spec.name}: operations need weights of 0 or more, and some gets or sets.`);
  if (!(spec.freshShare >= 0 && freshShare <= 1))
    throw new FlashError("bad-options", `${spec.name}: the share of fresh keys cannot be ${spec.freshShare}.`);
}
