/**
 * Searches that take simulated time: one searcher that serves contexts in order, as the thread of `WorkerSearch` does, but by
 * the host's clock, so that a simulation decides the same each time. A forecast can be taken when its search has ended.
 */
import type { MapForecast, MapSearch, MapSearchCounters, MapSearchOptions } from "./async-search.ts";
import type { ExpertMapStore } from "./expert-map-store.ts";
import { SearchClient } from "./search-client.ts";
import { SearchServer } from "./search-server.ts";

/** What a search costs; `npm run bench:maps` measures it. */
export interface SearchCost {
  /** Waking the searcher and handing over. @default 0.05 */
  readonly fixedMs?: number;
  /** Per stored value that a layer's search multiplies (rows x experts). @default 5e-7: 30 us for 1,000 rows of 60 */
  readonly msPerValue?: number;
}

export interface TimedSearchOptions extends MapSearchOptions {
  readonly cost?: SearchCost;
}

export class TimedSearch implements MapSearch {
  readonly store: ExpertMapStore;
  readonly #client: SearchClient;
  readonly #server: SearchServer;
  readonly #fixedMs: number;
  readonly #msPerValue: number;
  /** The searcher is busy until then. */
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TimedSearchOptions) {
    this.store = options.store;
    this.#client = new SearchClient(options);
    this.#server = new SearchServer(options, this.#client.contexts, this.#client.forecasts, this.#client.state);
    this.#fixedMs = options.cost?.fixedMs ?? 0.05;
    this.#msPerValue = options.cost?.msPerValue ?? 5e-7;
  }

  begin(iteration: number, embedding: Float32Array | undefined, tokenId: number, nowMs: number): void {
    this.#serveBefore(nowMs);
    this.#client.begin(iteration, embedding, tokenId, nowMs);
  }

  observe(layer: number, probabilities: Float32Array, nowMs: number): void {
    this.#serveBefore(nowMs);
    this.#client.observe(layer, probabilities, nowMs);
  }

  take(nowMs: number, visitor: (forecast: MapForecast) => void): number {
    this.#serveBefore(nowMs);
    return this.#client.take(nowMs, visitor);
  }

  update(embedding: Float32Array | undefined, map: Float32Array, tokenId: number, nowMs: number): void {
    this.#serveBefore(nowMs);
    this.#client.update(embedding, map, tokenId, nowMs);
  }

  counters(): MapSearchCounters {
    return this.#client.counters();
  }

  close(): void {
    this.#serveBefore(Number.POSITIVE_INFINITY);
  }

  /** Everything that the searcher has begun by now; what it finds stale at the time costs nothing. */
  #serveBefore(nowMs: number): void {
    for (;;) {
      const context = this.#client.contexts.first();
      if (context === undefined) return;
      const startMs = Math.max(this.#freeAtMs, context.publishedMs);
      if (startMs > nowMs) return;
      const costMs = this.#costMs(context.kind, context.endLayer - context.firstLayer);
      const served = this.#server.serve(startMs + costMs);
      if (served !== "stale") this.#freeAtMs = startMs + costMs;
      if (served === "search") this.#client.state.took(1000 * costMs);
    }
  }

  #costMs(kind: "semantic" | "trajectory" | "update", layers: number): number {
    const { size, shape, capacity } = this.store;
    // A full store compares the whole map and the embedding with every row.
    const width =
      kind === "trajectory"
        ? layers * shape.experts
        : kind === "semantic"
          ? shape.hiddenSize
          : size < capacity
            ? 0
            : shape.layers * shape.experts + shape.hiddenSize;
    return this.#fixedMs + size * width * this.#msPerValue;
  }
}
