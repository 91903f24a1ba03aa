/**
 * The model's side of every search: copies what is known into the ring of contexts, keeps what a full ring refused so that
 * the next context carries it, and takes forecasts out. It never waits.
 */
import { type MapForecast, type MapSearchCounters, MapSearchError, type MapSearchOptions } from "./async-search.ts";
import { ContextRing, type SearchContext } from "./context-ring.ts";
import { ForecastRing } from "./forecast-ring.ts";
import { type PlannedLayers, semanticTargets, trajectoryTargets } from "./layer-plan.ts";
import { mapLength, NO_TOKEN } from "./map-shape.ts";
import { planningOf } from "./search-server.ts";
import { SearchState } from "./search-state.ts";

const DEFAULT_QUEUE = 32;

export class SearchClient {
  readonly contexts: ContextRing;
  readonly forecasts: ForecastRing;
  readonly state = new SearchState();
  readonly queue: number;
  readonly #options: MapSearchOptions;
  readonly #experts: number;
  readonly #semanticTargets: PlannedLayers;
  readonly #trajectoryTargets: readonly PlannedLayers[];
  /** What is published next; `rows` is the running iteration's map so far. */
  readonly #context: SearchContext;
  readonly #observed: Float32Array;
  #iteration = -1;
  /** Layers observed; those from `#published` on are not in a context yet. */
  #layers = 0;
  #published = 0;
  #incomplete = false;
  #droppedContexts = 0;
  #droppedUpdates = 0;
  #tooLate = 0;

  constructor(options: MapSearchOptions) {
    const { store, neighbours = 1, queue = DEFAULT_QUEUE } = options;
    const planning = planningOf(options);
    this.#options = options;
    this.#experts = store.shape.experts;
    this.queue = queue;
    this.#semanticTargets = semanticTargets(planning);
    this.#trajectoryTargets = trajectoryTargets(planning);
    const targets = Math.max(this.#semanticTargets.count, ...this.#trajectoryTargets.map(({ count }) => count));
    this.contexts = new ContextRing(store.shape, queue);
    this.forecasts = new ForecastRing({ slots: queue, neighbours, targets, experts: this.#experts });
    this.#observed = new Float32Array(mapLength(store.shape));
    this.#context = {
      kind: "semantic",
      iteration: 0,
      tokenId: NO_TOKEN,
      firstLayer: 0,
      endLayer: 0,
      embedding: undefined,
      rows: this.#observed,
      publishedMs: 0,
    };
  }

  /** See `MapSearch.begin`. @returns whether a context was published */
  begin(iteration: number, embedding: Float32Array | undefined, tokenId: number, nowMs: number): boolean {
    this.#throwIfFailed();
    this.#iteration = iteration;
    this.#layers = 0;
    this.#published = 0;
    this.#incomplete = false;
    this.state.at(iteration, -1);
    for (let old = this.forecasts.first(); old !== undefined && old.iteration !== iteration; ) {
      this.#tooLate++;
      this.forecasts.pop();
      old = this.forecasts.first();
    }
    if (this.#semanticTargets.count === 0 || (embedding === undefined && tokenId === NO_TOKEN)) return false;
    const known = this.#options.store.shape.hiddenSize > 0 ? embedding : undefined;
    return this.#publish("semantic", 0, 0, known, tokenId, nowMs);
  }

  /** See `MapSearch.observe`. @returns whether a context was published */
  observe(layer: number, probabilities: Float32Array, nowMs: number): boolean {
    this.#throwIfFailed();
    this.state.at(this.#iteration, layer);
    if (layer !== this.#layers) this.#incomplete = true;
    if (this.#incomplete) return false;
    this.#layers++;
    const from = layer * this.#experts;
    for (let j = 0; j < this.#experts; j++) this.#observed[from + j] = probabilities[j];
    if (this.#trajectoryTargets[layer].count === 0) return false;
    if (!this.#publish("trajectory", this.#published, layer + 1, undefined, NO_TOKEN, nowMs)) return false;
    this.#published = layer + 1;
    return true;
  }

  /** See `MapSearch.update`. @returns whether a context was published */
  update(embedding: Float32Array | undefined, map: Float32Array, tokenId: number, nowMs: number): boolean {
    this.#throwIfFailed();
    const { store } = this.#options;
    if (store.frozen) return false;
    const context = this.#context;
    context.rows = map;
    const known = store.shape.hiddenSize > 0 ? embedding : undefined;
    const published = this.#publish("update", 0, store.shape.layers, known, tokenId, nowMs);
    context.rows = this.#observed;
    return published;
  }

  /** See `MapSearch.take`. */
  take(nowMs: number, visitor: (forecast: MapForecast) => void): number {
    this.#throwIfFailed();
    let taken = 0;
    for (;;) {
      const forecast = this.forecasts.first();
      if (forecast === undefined || forecast.readyAtMs > nowMs) return taken;
      const last = forecast.firstTarget + forecast.targets - 1;
      if (forecast.iteration !== this.#iteration || last <= this.state.layer) this.#tooLate++;
      else {
        visitor(forecast);
        taken++;
      }
      this.forecasts.pop();
    }
  }

  counters(): MapSearchCounters {
    const { state } = this;
    return {
      semanticSearches: state.count("semantic"),
      trajectorySearches: state.count("trajectory"),
      emptySearches: state.count("empty"),
      droppedContexts: this.#droppedContexts,
      staleContexts: state.count("stale"),
      updates: state.count("updates"),
      droppedUpdates: this.#droppedUpdates,
      droppedForecasts: state.count("droppedForecasts"),
      tooLate: this.#tooLate,
      waits: 0,
      p50Us: state.timeUs(0.5),
      p99Us: state.timeUs(0.99),
    };
  }

  #publish(
    kind: SearchContext["kind"],
    firstLayer: number,
    endLayer: number,
    embedding: Float32Array | undefined,
    tokenId: number,
    nowMs: number,
  ): boolean {
    const context = this.#context;
    context.kind = kind;
    context.iteration = this.#iteration;
    context.tokenId = tokenId;
    context.firstLayer = firstLayer;
    context.endLayer = endLayer;
    context.embedding = embedding;
    context.publishedMs = nowMs;
    const published = this.contexts.push(context);
    context.embedding = undefined;
    if (!published && kind === "update") this.#droppedUpdates++;
    else if (!published) this.#droppedContexts++;
    return published;
  }

  #throwIfFailed(): void {
    const { failure } = this.state;
    if (failure !== undefined) throw new MapSearchError(failure);
  }
}
