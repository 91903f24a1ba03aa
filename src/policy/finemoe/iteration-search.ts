/**
 * What `finemoe` does with `maps/`: opens or makes the store, publishes each iteration to the searches, and records it as a row
 * of the store when its last layer has run. A batch of a few sequences is searched one by one, a prompt as one query. It
 * decides nothing about reads.
 */
import type { IterationStart, RouterEvent } from "../../cache/policy.ts";
import type { ModelShape } from "../../cache/shape.ts";
import {
  decodeStore,
  type ExpectedStore,
  ExpertMapStore,
  encodeStore,
  InlineSearch,
  type MapForecast,
  MapRecorder,
  type MapSearch,
  type MapSearchOptions,
  type MapShape,
  MapStoreFileError,
  NO_TOKEN,
  TimedSearch,
  WorkerSearch,
} from "../../maps/index.ts";
import type { FineMoeOptions } from "./options.ts";

export interface SearchResources {
  /** A file of expert maps to begin with, as `warmset maps` makes them. @default what was learned, else nothing */
  readonly maps?: Uint8Array | undefined;
  /** The same from the policy's own `learned()`. */
  readonly learned?: Uint8Array | undefined;
  /** SHA-256 of the model's header; maps of another model are then refused. @default unknown */
  readonly modelHash?: string | undefined;
  /** Time is virtual, so searches must take theirs by the host's clock. @default false: searches run in a thread */
  readonly simulated?: boolean | undefined;
}

/**
 * More tokens than this in one decode step are searched as one. Speculative decoding and small batches stay below; each
 * sequence costs a search of its own.
 */
const MOST_SEQUENCES = 16;

export class IterationSearch {
  /** d, no more than the model has layers. */
  readonly distance: number;
  /** Sequences that are searched in this iteration. */
  sequences = 0;
  readonly #shape: ModelShape;
  readonly #options: FineMoeOptions;
  readonly #store: ExpertMapStore;
  readonly #open: () => MapSearch;
  /** One for each sequence, the first of which also stores; opened when first needed. */
  readonly #searches: MapSearch[] = [];
  /** Makes rows of prompts, and of decode steps, whose every token is an iteration of its own sequence. */
  readonly #promptRecorder: MapRecorder;
  readonly #stepRecorder: MapRecorder;
  readonly #embedding: Float32Array;
  readonly #row: Float32Array;
  /** Of the batch. */
  #tokens = 0;
  #decoding = false;
  #guided = false;
  #nowMs = 0;
  #closed = false;
  #withoutEmbeddings = 0;
  #withoutProbabilities = 0;

  /** @throws MapStoreFileError for a store of another model */
  constructor(shape: ModelShape, options: FineMoeOptions, resources: SearchResources) {
    this.#shape = shape;
    this.#options = options;
    this.distance = Math.min(options.distance, shape.layers);
    this.#store = this.#openStore(resources);
    const { search, plan, sameToken, queue, ideas } = options;
    const searching: MapSearchOptions = {
      ...{ store: this.#store, neighbours: ideas.neighbours, layerPlan: plan, parts: search },
      ...{ sameTokenRule: sameToken, queue },
    };
    const mode = options.mode ?? (resources.simulated === true ? "timed" : "worker");
    this.#open = () =>
      mode === "inline"
        ? new InlineSearch(searching)
        : mode === "timed"
          ? new TimedSearch(searching)
          : new WorkerSearch(searching);
    const { hiddenSize } = this.#store.shape;
    this.#embedding = new Float32Array(hiddenSize);
    this.#row = new Float32Array(shape.experts);
    const onMap = (embedding: Float32Array | undefined, map: Float32Array, tokenId: number) =>
      this.#search(0).update(embedding, map, tokenId, this.#nowMs);
    this.#promptRecorder = new MapRecorder({ shape: this.#store.shape, mode: options.record, onMap });
    this.#stepRecorder = new MapRecorder({ shape: this.#store.shape, mode: "token", onMap });
  }

  /** @param guided forecasts are wanted */
  iteration(start: IterationStart, guided: boolean): void {
    if (this.#closed) return;
    const { phase, tokens, tokenIds, nowMs } = start;
    const embeddings = this.#knownEmbeddings(start);
    this.#nowMs = nowMs;
    this.#tokens = tokens;
    this.#decoding = phase === "decode";
    this.#guided = guided;
    (this.#decoding ? this.#stepRecorder : this.#promptRecorder).batch({ ...start, embeddings });
    // What was generated after a prompt is no longer of it.
    if (this.#decoding) this.#promptRecorder.finish();
    if (embeddings === undefined) this.#withoutEmbeddings++;
    this.sequences = this.#decoding && tokens <= MOST_SEQUENCES ? tokens : 1;
    if (!guided) return;
    for (let sequence = 0; sequence < this.sequences; sequence++) {
      const query = embeddings === undefined ? undefined : this.#queryOf(embeddings, this.#embedding, sequence, tokens);
      const token = this.sequences > 1 ? tokenIds[sequence] : this.#meansBatch() ? NO_TOKEN : tokenIds[tokens - 1];
      this.#search(sequence).begin(start.iteration, query, token, nowMs);
    }
  }

  routed({ layer, tokens, probabilities, nowMs }: RouterEvent): void {
    if (this.#closed) return;
    this.#nowMs = nowMs;
    if (probabilities === undefined) {
      this.#withoutProbabilities++;
      return;
    }
    if (this.#guided)
      for (let sequence = 0; sequence < this.sequences; sequence++) {
        // The last layer may run for fewer tokens than the batch has; whose they are is not known.
        if (this.sequences > 1 && tokens !== this.#tokens) break;
        const row = this.#queryOf(probabilities, this.#row, sequence, tokens);
        this.#search(sequence).observe(layer, row, nowMs);
      }
    (this.#decoding ? this.#stepRecorder : this.#promptRecorder).observe(layer, probabilities, tokens);
  }

  take(nowMs: number, visitor: (forecast: MapForecast) => void): void {
    if (this.#closed) return;
    for (let sequence = 0; sequence < this.sequences; sequence++) this.#search(sequence).take(nowMs, visitor);
  }

  /** The store as a file's bytes. Nothing is searched or stored any more. */
  storeFile(): Uint8Array {
    this.close();
    return encodeStore(this.#store);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#promptRecorder.finish();
      this.#stepRecorder.finish();
    } finally {
      closeAll(this.#searches);
    }
  }

  figures(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const name of SUMMED) sums[name] = 0;
    let searchP50Us = 0;
    let searchP99Us = 0;
    for (const search of this.#searches) {
      const counters = search.counters();
      for (const name of SUMMED) sums[name] += counters[name];
      searchP50Us = Math.max(searchP50Us, counters.p50Us);
      searchP99Us = Math.max(searchP99Us, counters.p99Us);
    }
    const { size, replaced, refused, bytes, frozen } = this.#store;
    return {
      semanticSearches: sums.semanticSearches,
      trajectorySearches: sums.trajectorySearches,
      searchesWithoutMatch: sums.emptySearches,
      searchWaits: sums.waits,
      searchP50Us,
      searchP99Us,
      contextsDropped: sums.droppedContexts,
      contextsStale: sums.staleContexts,
      forecastsDropped: sums.droppedForecasts,
      forecastsTooLate: sums.tooLate,
      storeUpdates: sums.updates,
      storeUpdatesDropped: sums.droppedUpdates,
      storeRows: size,
      storeRowsReplaced: replaced,
      storeRowsRefused: refused,
      storeBytes: bytes,
      storeFrozen: frozen ? 1 : 0,
      iterationsByTokenIdOnly: this.#withoutEmbeddings,
      layersWithoutProbabilities: this.#withoutProbabilities,
    };
  }

  #search(sequence: number): MapSearch {
    this.#searches[sequence] ??= this.#open();
    return this.#searches[sequence];
  }

  /** Undefined where the host has no embedding table, or the store was made without one: token ids stand for them. */
  #knownEmbeddings({ embeddings, tokens }: IterationStart): Float32Array | undefined {
    const { hiddenSize } = this.#store.shape;
    if (embeddings === undefined || hiddenSize === 0 || hiddenSize !== this.#shape.hiddenSize) return undefined;
    return embeddings.length < tokens * hiddenSize ? undefined : embeddings;
  }

  #meansBatch(): boolean {
    return this.#tokens > 1 && this.sequences === 1 && (this.#decoding || this.#options.record === "mean");
  }

  /** One of the rows `[tokens][into.length]` for a sequence: its own, the last token's, or the mean. */
  #queryOf(rows: Float32Array, into: Float32Array, sequence: number, tokens: number): Float32Array {
    const width = into.length;
    if (!this.#meansBatch()) {
      const from = (this.sequences > 1 ? sequence : tokens - 1) * width;
      for (let i = 0; i < width; i++) into[i] = rows[from + i];
      return into;
    }
    into.fill(0);
    for (let at = 0; at < tokens * width; at++) into[at % width] += rows[at] / tokens;
    return into;
  }

  #openStore({ maps, learned, modelHash }: SearchResources): ExpertMapStore {
    const { capacity, store } = this.#options;
    const { layers, experts, hiddenSize = 0 } = this.#shape;
    const given = maps ?? learned;
    const shape: MapShape = { layers, experts, hiddenSize };
    if (given === undefined)
      return new ExpertMapStore({
        ...{ shape, prefetchDistance: this.distance, modelHash },
        ...(capacity === undefined ? {} : { capacity }),
      });
    const expected: ExpectedStore = {
      ...{ shape, modelHash, prefetchDistance: this.distance, frozen: store === "frozen" },
      ...(capacity === undefined ? {} : { capacity }),
    };
    try {
      return decodeStore(given, expected);
    } catch (error) {
      if (!(error instanceof MapStoreFileError) || error.reason !== "other-shape" || hiddenSize === 0) throw error;
      // Made where embeddings were not known: token ids stand for them.
      try {
        return decodeStore(given, { ...expected, shape: { ...shape, hiddenSize: 0 } });
      } catch {
        throw error;
      }
    }
  }
}

/** All of them, even if one has failed. @throws what the first of those threw */
function closeAll(searches: readonly MapSearch[]): void {
  let failure: unknown;
  for (const search of searches)
    try {
      search.close();
    } catch (error) {
      failure ??= error;
    }
  if (failure !== undefined) throw failure;
}

const SUMMED = [
  "semanticSearches",
  "trajectorySearches",
  "emptySearches",
  "waits",
  "droppedContexts",
  "staleContexts",
  "droppedForecasts",
  "tooLate",
  "updates",
  "droppedUpdates",
] as const;
