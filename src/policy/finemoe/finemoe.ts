/**
 * FineMoE: while an iteration runs, the most similar past ones are looked for in a store of expert maps, and what they used
 * in the layers ahead is read before its routers ask for it. This is where searches, selection, the line of reads and
 * eviction meet, for `finemoe` as the paper has it and, with ideas switched on, for `finemoe-plus`; each part is a file of
 * its own. Differences to the paper are switches (`options.ts`).
 */
import {
  type EvictionReason,
  type IterationStart,
  type LinkState,
  type LoadKind,
  NEEDS_NOTHING,
  type Policy,
  type PolicyNeeds,
  type Residents,
  type RouterEvent,
} from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import type { MapForecast } from "../../maps/index.ts";
import { blendMatches } from "../../maps/index.ts";
import { ExpectedValueAdmission } from "./admission.ts";
import { type EvictionRanking, ProbabilityFrequency } from "./eviction.ts";
import { FirstLayers } from "./first-layers.ts";
import { ForecastFigures } from "./forecast-figures.ts";
import { ForecastMix, VOICES } from "./forecast-mix.ts";
import { IterationSearch, type SearchResources } from "./iteration-search.ts";
import { NextUseEviction } from "./next-use-eviction.ts";
import type { FineMoeOptions } from "./options.ts";
import { PrefetchQueue } from "./prefetch-queue.ts";
import { ExpertSelection } from "./select-experts.ts";
import { UseCalibration } from "./use-calibration.ts";
import { UseShares } from "./use-shares.ts";

export class FineMoe implements Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  readonly pausesForDemand = true;
  readonly prefetchesAtStart = true;
  readonly #options: FineMoeOptions;
  readonly #resources: SearchResources;
  #shape!: ModelShape;
  #search!: IterationSearch;
  #selection!: ExpertSelection;
  #queue!: PrefetchQueue;
  #eviction!: EvictionRanking;
  readonly #figures = new ForecastFigures();
  // Ideas of `finemoe-plus`, each undefined when it is off.
  #shares: UseShares | undefined;
  #admission: ExpectedValueAdmission | undefined;
  #calibration: UseCalibration | undefined;
  #mix: ForecastMix | undefined;
  #first: FirstLayers | undefined;

  /** Forecasts are wanted in this iteration. */
  #guided = false;
  /** Layer whose router ran last; -1 before the first. */
  #now = -1;
  #spareBytes = 0;
  /**
   * Of the last forecast of each layer: its row `[layers][experts]` (of several sequences the highest), and its score, NaN
   * without one in this iteration.
   */
  #rows!: Float32Array;
  #scores!: Float64Array;
  #row!: Float32Array;
  #union!: Float32Array;
  /** Per key: 1 when a forecast of this iteration selected it. */
  #selected!: Uint8Array;
  #selectedLayers!: Uint8Array;
  /** Per key: 1 while a speculative read of it is under way. */
  #reading!: Uint8Array;
  #readsUnderWay = 0;
  #readsIssued = 0;
  #evictions = 0;
  #waitsForReads = 0;
  /** What a read ahead would push out is worth this; undefined until somebody asks. */
  #loss: number | undefined;
  #residents: Residents | undefined;
  readonly #admits: ((key: ExpertKey) => boolean) | undefined;
  readonly #admitsFavourite: ((key: ExpertKey) => boolean) | undefined;
  readonly #visit = (forecast: MapForecast) => this.#planForecast(forecast);

  constructor(name: string, options: FineMoeOptions, resources: SearchResources = {}) {
    const { ideas } = options;
    this.name = name;
    this.needs = {
      ...NEEDS_NOTHING,
      ...{ probabilities: true, embeddings: options.search !== "trajectory", nextGate: ideas.nextGate },
      copesWithout: ["embeddings"],
    };
    this.#options = options;
    this.#resources = resources;
    if (!ideas.admission) return;
    this.#admits = (key) => this.#worthReading(key, this.#chance(key));
    this.#admitsFavourite = (key) => this.#worthReading(key, this.#shares?.share(key) ?? 0);
  }

  /** @throws MapStoreFileError when the store that it was given is of another model */
  begin(shape: ModelShape, budgetExperts: number): void {
    const { threshold, eviction, halfLife, ideas } = this.#options;
    const total = shape.layers * shape.experts;
    this.#shape = shape;
    this.#search = new IterationSearch(shape, this.#options, this.#resources);
    this.#selection = new ExpertSelection(shape.experts, shape.expertsUsed, threshold);
    this.#queue = new PrefetchQueue(shape);
    this.#figures.begin(shape.experts, shape.expertsUsed);
    this.#rows = new Float32Array(total);
    this.#scores = new Float64Array(shape.layers).fill(Number.NaN);
    this.#row = new Float32Array(shape.experts);
    this.#union = new Float32Array(shape.experts);
    this.#selected = new Uint8Array(total);
    this.#selectedLayers = new Uint8Array(shape.layers);
    this.#reading = new Uint8Array(total);
    const shares = new UseShares(shape);
    if (ideas.admission || ideas.nextUse || ideas.firstLayers) this.#shares = shares;
    if (ideas.admission) this.#admission = new ExpectedValueAdmission(shape);
    if (ideas.calibration) this.#calibration = new UseCalibration(shape);
    if (ideas.ensemble) this.#mix = new ForecastMix(shape);
    if (ideas.firstLayers) this.#first = new FirstLayers(shape, shares, this.#search.distance, budgetExperts);
    this.#eviction = ideas.nextUse
      ? new NextUseEviction(shape, shares)
      : new ProbabilityFrequency(shape, { rule: eviction, halfLifeTokens: halfLife });
  }

  iteration(start: IterationStart): void {
    const { layers } = this.#shape;
    this.#now = -1;
    this.#queue.restart();
    this.#scores.fill(Number.NaN);
    this.#selected.fill(0);
    this.#selectedLayers.fill(0);
    this.#guided = start.phase === "decode" || this.#options.prefill;
    if (start.phase === "prefill") this.#eviction.promptStarts();
    for (let layer = 0; layer < layers; layer++) this.#calibration?.forget(layer);
    this.#mix?.iterationStarts(start.request);
    this.#admission?.iterationStarts();
    this.#search.iteration(start, this.#guided);
    this.#takeForecasts(start.nowMs);
  }

  routed(event: RouterEvent): void {
    const { layer, distinct, distinctCount } = event;
    // Searches that ended before this router decided have forecast its layer, even if nobody asked for reads since.
    this.#takeForecasts(event.nowMs);
    this.#now = layer;
    this.#shares?.routed(event);
    this.#eviction.routed(event);
    this.#countForecastUses(event);
    this.#queue.advance(layer);
    this.#admission?.routed();
    this.#calibration?.routed(layer, distinct, distinctCount);
    this.#mix?.routed(event);
    this.#search.routed(event);
    this.#takeForecasts(event.nowMs);
    if (this.#mix !== undefined) this.#planNext(event);
    if (layer === this.#shape.layers - 1) this.#first?.tokenEnds();
  }

  prefetch(link: LinkState): ExpertKey {
    this.#takeForecasts(link.nowMs);
    this.#spareBytes = link.spareBytes;
    if (this.#readsUnderWay >= this.#options.inflight) {
      this.#waitsForReads++;
      return NO_EXPERT;
    }
    this.#residents = link.residents;
    this.#loss = undefined;
    const key = this.#queue.best(link.residents, this.#admits);
    if (key !== NO_EXPERT || this.#now < this.#shape.layers - 1) return key;
    return this.#first?.best(link.residents, this.#admitsFavourite) ?? NO_EXPERT;
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    this.#eviction.loading(key);
    if (kind === "demand") {
      this.#admission?.demanded();
      return;
    }
    this.#queue.remove(key);
    // Nothing else is read ahead once the last layer's router has run.
    if (this.#first !== undefined && this.#now === this.#shape.layers - 1) this.#first.read++;
    this.#reading[key] = 1;
    this.#readsUnderWay++;
    this.#readsIssued++;
    this.#admission?.prefetched(this.#bytesOf(key));
  }

  loaded(key: ExpertKey): void {
    this.#readsUnderWay -= this.#reading[key];
    this.#reading[key] = 0;
  }

  victim(candidates: Residents, _reason: EvictionReason): ExpertKey {
    const victim = this.#victim(candidates);
    if (victim !== NO_EXPERT) this.#evictions++;
    return victim;
  }

  /** The store of expert maps as a file's bytes. */
  learned(): Uint8Array {
    return this.#search.storeFile();
  }

  figures(): Readonly<Record<string, number>> {
    const { counters } = this.#queue;
    const calibration = this.#calibration;
    return {
      ...this.#search.figures(),
      ...this.#figures.toRecord(),
      queued: counters.queued,
      queueOverwritten: counters.overwritten,
      queueResorts: counters.resorts,
      queuePassed: counters.passed,
      queueOutdated: counters.outdated,
      queueResident: counters.resident,
      readsAhead: this.#readsIssued,
      waitsForReadsAhead: this.#waitsForReads,
      [this.#options.ideas.nextUse ? "evictionsByNextUse" : `evictionsBy${EVICTION_NAMES[this.#options.eviction]}`]:
        this.#evictions,
      ...(this.#admission === undefined
        ? {}
        : {
            admitted: this.#admission.admitted,
            refused: this.#admission.refused,
            refusedForBytes: this.#admission.exhausted,
            linkUse: this.#admission.linkUse,
          }),
      ...(calibration === undefined
        ? {}
        : {
            calibrationOutcomes: calibration.outcomes,
            brierScore: calibration.outcomes === 0 ? 0 : calibration.squaredErrors / calibration.outcomes,
          }),
      ...(this.#mix === undefined
        ? {}
        : {
            mixOutcomes: this.#mix.learned,
            ...Object.fromEntries(VOICES.map((voice) => [`mixWeight:${voice}`, this.#mix?.weight(voice) ?? 0])),
          }),
      ...(this.#first === undefined ? {} : { favouritesSpared: this.#first.spared, favouritesRead: this.#first.read }),
    };
  }

  end(): void {
    this.#search.close();
  }

  #victim(candidates: Residents): ExpertKey {
    return this.#first?.victim(candidates, this.#eviction) ?? this.#eviction.victim(candidates);
  }

  #takeForecasts(nowMs: number): void {
    if (this.#guided) this.#search.take(nowMs, this.#visit);
  }

  #planForecast(forecast: MapForecast): void {
    const { experts } = this.#shape;
    const row = this.#row;
    for (let target = 0; target < forecast.targets; target++) {
      const layer = forecast.firstTarget + target;
      if (layer <= this.#now) {
        this.#figures.layersLate++;
        continue;
      }
      const score = blendMatches(forecast, target, row);
      const first = layer * experts;
      const others = this.#search.sequences > 1 && !Number.isNaN(this.#scores[layer]);
      // Of several sequences each selects by its own row; an expert has the highest probability that any of them gives it.
      for (let expert = 0; expert < experts; expert++)
        this.#rows[first + expert] = others ? Math.max(row[expert], this.#rows[first + expert]) : row[expert];
      this.#scores[layer] = score;
      if (this.#mix !== undefined) this.#mix.mix(layer, layer - this.#now, row, undefined, row);
      this.#planLayer(layer, row, score, others ? this.#unionOf(layer) : row);
    }
  }

  /** The next layer once more: now its own router has spoken, and all that is known is a layer younger. */
  #planNext({ layer, tokens, nextGate }: RouterEvent): void {
    const next = layer + 1;
    const { layers, experts } = this.#shape;
    if (!this.#guided || next >= layers || this.#mix === undefined) return;
    const score = this.#scores[next];
    const known = !Number.isNaN(score);
    if (known) for (let expert = 0; expert < experts; expert++) this.#row[expert] = this.#rows[next * experts + expert];
    // Scores of several tokens are several distributions; the mix takes one.
    const gate = tokens === 1 ? nextGate : undefined;
    this.#mix.mix(next, 1, known ? this.#row : undefined, gate, this.#row);
    this.#planLayer(next, this.#row, known ? score : 1, this.#row);
  }

  #unionOf(layer: number): Float32Array {
    const { experts } = this.#shape;
    for (let expert = 0; expert < experts; expert++) this.#union[expert] = this.#rows[layer * experts + expert];
    return this.#union;
  }

  /** @param union what is known of all sequences; `row` is one's own */
  #planLayer(layer: number, row: Float32Array, score: number, union: Float32Array): void {
    const { experts, expertBytes } = this.#shape;
    const first = layer * experts;
    const lead = layer - this.#now;
    this.#calibration?.forecast(layer, union, score);
    this.#eviction.forecast(layer, union);
    const count = this.#selection.select(row, score, Math.floor((this.#spareBytes * lead) / expertBytes[layer]));
    this.#figures.planned(score, count);
    this.#selectedLayers[layer] = 1;
    for (let i = 0; i < count; i++) {
      const key = (first + this.#selection.experts[i]) as ExpertKey;
      this.#selected[key] = 1;
      this.#queue.add(key, this.#calibration?.chance(key) ?? union[key - first]);
    }
  }

  #countForecastUses({ layer, distinct, distinctCount }: RouterEvent): void {
    if (this.#selectedLayers[layer] === 0) return;
    this.#figures.usesForecast += distinctCount;
    for (let i = 0; i < distinctCount; i++) this.#figures.usesSelected += this.#selected[distinct[i]];
  }

  /** Chance that an expert in line is used. A probability is one of K draws' unless calibration has made it a chance. */
  #chance(key: ExpertKey): number {
    const probability = this.#queue.probabilityOf(key);
    return this.#calibration === undefined ? Math.min(1, this.#shape.expertsUsed * probability) : probability;
  }

  #worthReading(key: ExpertKey, chance: number): boolean {
    const admission = this.#admission as ExpectedValueAdmission;
    const bytes = this.#bytesOf(key);
    return admission.affordable(bytes) && admission.admits(chance, this.#lossFor(bytes));
  }

  /** Chance that the expert which would make room is missed within a token. */
  #lossFor(bytes: number): number {
    const residents = this.#residents as Residents;
    if (residents.usedBytes + bytes <= residents.budgetBytes) return 0;
    if (this.#loss === undefined) {
      const victim = this.#victim(residents);
      this.#loss = victim === NO_EXPERT ? 1 : (this.#shares?.share(victim) ?? 0);
    }
    return this.#loss;
  }

  #bytesOf(key: ExpertKey): number {
    return this.#shape.expertBytes[Math.floor(key / this.#shape.experts)];
  }
}

const EVICTION_NAMES = { pfreq: "ProbabilityFrequency", lru: "Lru", lfu: "Lfu" } as const;
