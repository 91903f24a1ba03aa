/**
 * What a policy sees of the searches: it publishes what it knows of the running iteration, and takes what forecasts are
 * ready. Whether the search ran at once, took simulated time or runs in another thread is the implementation's
 * (`InlineSearch`, `TimedSearch`, `WorkerSearch`); none of them ever makes the caller wait.
 */
import type { ExpertMapStore } from "./expert-map-store.ts";
import type { Abandonment } from "./trajectory-search.ts";

export type ForecastKind = "semantic" | "trajectory";

/**
 * What one search found: the distributions of the matched iterations in the layers ahead. The object and its arrays are
 * reused; they are valid until the visitor returns.
 */
export interface MapForecast {
  readonly kind: ForecastKind;
  /** The iteration that it is for. */
  readonly iteration: number;
  /** The layer whose router was the last one observed; -1 for a semantic search. */
  readonly sourceLayer: number;
  /** Target layers are `firstTarget` .. `firstTarget + targets - 1`; some may have passed, never all. */
  readonly firstTarget: number;
  readonly targets: number;
  readonly experts: number;
  /** Rows found, at least 1, best first. */
  readonly matches: number;
  /** `[matches]`; with `sameTokenRule: "mean"` the first of the averaged rows. */
  readonly rows: Int32Array;
  /** `[matches]` cosines. */
  readonly scores: Float32Array;
  /** `[matches][targets][experts]`, each row summing to 1. */
  readonly probabilities: Float32Array;
}

/** Which layers a search plans. d is the store's prefetch distance. */
export type LayerPlan =
  /** The paper's: before layer 0 the layers 0..d-1, at layer l exactly l+d. */
  | "exact"
  /** At layer l all from l+d to the last, as the first public code does. */
  | "band"
  /** At layer l the layers l+1..l+d. */
  | "window";

/** Which searches run. The paper's ablation: the semantic one alone plans all layers. */
export type SearchParts = "both" | "semantic" | "trajectory";

export interface MapSearchOptions {
  readonly store: ExpertMapStore;
  /** Neighbours in a forecast at most. @default 1 */
  readonly neighbours?: number;
  /** @default "exact" */
  readonly layerPlan?: LayerPlan;
  /** @default "both" */
  readonly parts?: SearchParts;
  /** Rows of one token id: the first, as argmax takes it, or their mean. @default "first" */
  readonly sameTokenRule?: "first" | "mean";
  /** @default all rows are followed to the end */
  readonly abandon?: Abandonment | undefined;
  /** Contexts (and forecasts) that wait at most; what comes to a full queue is dropped and counted. @default 32 */
  readonly queue?: number;
}

/** Counts since the search was opened. */
export interface MapSearchCounters {
  readonly semanticSearches: number;
  readonly trajectorySearches: number;
  /** Searches that found no row. */
  readonly emptySearches: number;
  /** Contexts given up because the queue was full. A later one carries what they had observed. */
  readonly droppedContexts: number;
  /** Contexts given up before their search: another iteration had begun, or their target layers had passed. */
  readonly staleContexts: number;
  readonly updates: number;
  /** Updates given up because the queue was full. */
  readonly droppedUpdates: number;
  /** Forecasts that nobody had taken when their room was needed. */
  readonly droppedForecasts: number;
  /** Forecasts that were ready only when their last target layer had passed. */
  readonly tooLate: number;
  /** Times that the caller waited for a search. */
  readonly waits: 0;
  /** Time of a search; 0 before the first. Interpolated in a histogram with steps of 9 %. */
  readonly p50Us: number;
  readonly p99Us: number;
}

/** The searching thread failed; the policy would silently stop to predict. */
export class MapSearchError extends Error {
  override readonly name = "MapSearchError";

  constructor(reason: string) {
    super(`The search for expert maps has failed (${reason}). Use mode=inline to search in the model's own thread.`);
  }
}

/** Times are the host's clock, ms, and never go back. Any call throws MapSearchError once the searching thread has failed. */
export interface MapSearch {
  readonly store: ExpertMapStore;
  /**
   * An iteration of one token (or one standing for several) begins: what was observed is forgotten, and the semantic
   * search is asked for.
   * @param embedding `[hiddenSize]`, copied
   * @param tokenId or NO_TOKEN
   */
  begin(iteration: number, embedding: Float32Array | undefined, tokenId: number, nowMs: number): void;
  /**
   * A layer's router has decided; layers come in order from 0. Asks for the trajectory search if layers are ahead. After a
   * layer was left out the rest of the iteration is ignored.
   * @param probabilities `[experts]`, copied
   */
  observe(layer: number, probabilities: Float32Array, nowMs: number): void;
  /** Visits the forecasts that are ready for the running iteration, in the order of their searches. @returns how many */
  take(nowMs: number, visitor: (forecast: MapForecast) => void): number;
  /** Adds an iteration to the store, unless it is frozen. Both arrays are copied. */
  update(embedding: Float32Array | undefined, map: Float32Array, tokenId: number, nowMs: number): void;
  counters(): MapSearchCounters;
  /** Takes in the updates that wait, and ends the thread if there is one. Afterwards the store may be saved. */
  close(): void;
}
