/**
 * A workload drawn from a description: one or more populations with keys of their own, and how their popularity changes. The same
 * description and seed give the same events, however large the batches are.
 */
import { Randomness } from "../../predict/randomness.ts";
import { FlashError } from "../errors.ts";
import type { EventBatch, Workload } from "./event-batch.ts";
import { MAX_POPULATIONS } from "./key-bytes.ts";
import { type Changes, Population, type PopulationSpec } from "./population.ts";

export interface WorkloadSpec extends Changes {
  readonly name: string;
  readonly populations: readonly PopulationSpec[];
  /** Events between two phases; at a phase's begin every rank gets another key. @default one phase */
  readonly phaseOperations?: number;
  /** @default 0 */
  readonly seed?: number;
}

export class GeneratedWorkload implements Workload {
  readonly name: string;
  /** In the order of the description. */
  readonly populations: readonly Population[];
  readonly #spec: WorkloadSpec;
  readonly #random: Randomness;
  /** Changes have their own numbers, so that they alter which keys are asked for and nothing else. */
  readonly #changes: Randomness;
  readonly #weightsUpTo: Float64Array;
  #drawn = 0;
  /** No change comes before this many events. */
  #nextChange: number;

  /** @throws FlashError `bad-options` */
  constructor(spec: WorkloadSpec) {
    const { name, populations, phaseOperations, seed = 0 } = spec;
    checkWeights(populations);
    if (phaseOperations !== undefined && !(Number.isInteger(phaseOperations) && phaseOperations > 0))
      throw new FlashError("bad-options", `A phase must have 1 event or more, not ${phaseOperations}.`);
    this.name = name;
    this.#spec = spec;
    this.#random = new Randomness(seed, 1);
    this.#changes = new Randomness(seed, 2);
    this.populations = populations.map((one, i) => new Population(one, i, new Randomness(seed, 3, i), spec));
    let sum = 0;
    this.#weightsUpTo = Float64Array.from(populations, ({ weight }) => {
      sum += weight;
      return sum;
    });
    this.#nextChange = this.#changeAfter(0);
  }

  next(batch: EventBatch): number {
    const { populations } = this;
    const random = this.#random;
    const upTo = this.#weightsUpTo;
    const last = populations.length - 1;
    for (let i = 0; i < batch.capacity; i++) {
      if (this.#drawn === this.#nextChange) this.#change();
      this.#drawn++;
      let which = 0;
      if (last > 0) {
        const drawn = random.next() * upTo[last];
        while (which < last && drawn >= upTo[which]) which++;
      }
      populations[which].draw(batch, i, random);
    }
    return batch.capacity;
  }

  #change(): void {
    const { drift, churn, phaseOperations } = this.#spec;
    for (const population of this.populations) {
      if (isDue(drift?.everyOperations, this.#drawn)) population.stepDrift();
      if (isDue(churn?.everyOperations, this.#drawn)) population.stepChurn();
      if (isDue(phaseOperations, this.#drawn)) population.nextPhase(this.#changes);
    }
    this.#nextChange = this.#changeAfter(this.#drawn);
  }

  #changeAfter(drawn: number): number {
    const { drift, churn, phaseOperations } = this.#spec;
    const periods = [drift?.everyOperations, churn?.everyOperations, phaseOperations];
    return Math.min(
      ...periods.map((every = Number.POSITIVE_INFINITY) =>
        every === Number.POSITIVE_INFINITY ? every : (Math.floor(drawn / every) + 1) * every,
      ),
    );
  }
}

function isDue(every: number | undefined, drawn: number): boolean {
  return every !== undefined && drawn % every === 0;
}

function checkWeights(populations: readonly PopulationSpec[]): void {
  if (populations.length < 1 || populations.length > MAX_POPULATIONS)
    throw new FlashError(
      "bad-options",
      `A workload has 1 to ${MAX_POPULATIONS} populations, not ${populations.length}.`,
    );
  for (const { name, weight } of populations)
    if (!(weight > 0 && Number.isFinite(weight)))
      throw new FlashError("bad-options", `${name}: its weight must be more than 0, not ${weight}.`);
}
