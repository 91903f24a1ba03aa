/**
 * Searches in a thread of their own. The model's thread never returns to its event loop while a token is computed, so
 * contexts, forecasts and failures go through shared memory, and it looks for them when it comes by.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import {
  type MapForecast,
  type MapSearch,
  type MapSearchCounters,
  MapSearchError,
  type MapSearchOptions,
} from "./async-search.ts";
import type { SharedContexts } from "./context-ring.ts";
import type { ExpertMapStore, SharedStore } from "./expert-map-store.ts";
import type { ForecastRingShape, SharedForecasts } from "./forecast-ring.ts";
import { SearchClient } from "./search-client.ts";
import type { SharedSearchState } from "./search-state.ts";

/** What the thread is started with. */
export interface SearchWorkerData {
  readonly store: SharedStore;
  readonly options: Omit<MapSearchOptions, "store">;
  readonly queue: number;
  readonly contexts: SharedContexts;
  readonly forecasts: SharedForecasts;
  readonly forecastShape: ForecastRingShape;
  readonly state: SharedSearchState;
}

/** Storing what still waits takes some ms; a thread that has not ended by then hangs. */
const CLOSE_TIMEOUT_MS = 5000;

export class WorkerSearch implements MapSearch {
  readonly store: ExpertMapStore;
  readonly #client: SearchClient;
  readonly #worker: Worker;
  #closed = false;

  constructor(options: MapSearchOptions) {
    const { store, ...rest } = options;
    const client = new SearchClient(options);
    const { contexts, forecasts, state } = client;
    this.store = store;
    this.#client = client;
    const workerData: SearchWorkerData = {
      store: store.shared,
      options: rest,
      queue: client.queue,
      contexts: contexts.shared,
      forecasts: forecasts.shared,
      forecastShape: forecasts.shape,
      state: state.shared,
    };
    this.#worker = new Worker(compiledModule(import.meta.url, "./search-worker.js"), {
      workerData,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 },
    });
    this.#worker.unref();
    // These come only between tokens; the thread itself writes down what it can catch.
    this.#worker.on("error", (error) => state.fail(error.message));
    this.#worker.on("exit", () => {
      if (!this.#closed && state.failure === undefined) state.fail("the searching thread ended by itself");
    });
  }

  begin(iteration: number, embedding: Float32Array | undefined, tokenId: number, nowMs: number): void {
    if (this.#client.begin(iteration, embedding, tokenId, nowMs)) this.#client.state.ring();
  }

  observe(layer: number, probabilities: Float32Array, nowMs: number): void {
    if (this.#client.observe(layer, probabilities, nowMs)) this.#client.state.ring();
  }

  /** The clock does not matter: a forecast is ready when it is there. */
  take(_nowMs: number, visitor: (forecast: MapForecast) => void): number {
    return this.#client.take(Number.POSITIVE_INFINITY, visitor);
  }

  update(embedding: Float32Array | undefined, map: Float32Array, tokenId: number, nowMs: number): void {
    if (this.#client.update(embedding, map, tokenId, nowMs)) this.#client.state.ring();
  }

  counters(): MapSearchCounters {
    return this.#client.counters();
  }

  /** @throws MapSearchError when the thread has failed or does not end */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { state } = this.#client;
    state.askToStop();
    const ended = state.failure !== undefined || state.waitUntilStopped(CLOSE_TIMEOUT_MS);
    void this.#worker.terminate();
    if (state.failure !== undefined) throw new MapSearchError(state.failure);
    if (!ended) throw new MapSearchError(`the searching thread did not end within ${CLOSE_TIMEOUT_MS / 1000} s`);
  }
}
