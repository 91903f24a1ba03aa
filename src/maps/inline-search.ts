/** Searches at once, in the thread of the caller: for tests, and for where the store is small or there is one core only. */
import type { MapForecast, MapSearch, MapSearchCounters, MapSearchOptions } from "./async-search.ts";
import type { ExpertMapStore } from "./expert-map-store.ts";
import { SearchClient } from "./search-client.ts";
import { SearchServer } from "./search-server.ts";

export interface InlineSearchOptions extends MapSearchOptions {
  /** Time in ms, for the statistics only. @default performance.now */
  readonly now?: () => number;
}

export class InlineSearch implements MapSearch {
  readonly store: ExpertMapStore;
  readonly #client: SearchClient;
  readonly #server: SearchServer;
  readonly #now: () => number;

  constructor(options: InlineSearchOptions) {
    this.store = options.store;
    this.#client = new SearchClient(options);
    this.#server = new SearchServer(options, this.#client.contexts, this.#client.forecasts, this.#client.state);
    this.#now = options.now ?? (() => performance.now());
  }

  begin(iteration: number, embedding: Float32Array | undefined, tokenId: number, nowMs: number): void {
    if (this.#client.begin(iteration, embedding, tokenId, nowMs)) this.#serve(nowMs);
  }

  observe(layer: number, probabilities: Float32Array, nowMs: number): void {
    if (this.#client.observe(layer, probabilities, nowMs)) this.#serve(nowMs);
  }

  take(nowMs: number, visitor: (forecast: MapForecast) => void): number {
    return this.#client.take(nowMs, visitor);
  }

  update(embedding: Float32Array | undefined, map: Float32Array, tokenId: number, nowMs: number): void {
    if (this.#client.update(embedding, map, tokenId, nowMs)) this.#serve(nowMs);
  }

  counters(): MapSearchCounters {
    return this.#client.counters();
  }

  close(): void {}

  #serve(nowMs: number): void {
    const startMs = this.#now();
    if (this.#server.serve(nowMs) === "search") this.#client.state.took(1000 * (this.#now() - startMs));
  }
}
