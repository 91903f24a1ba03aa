/**
 * The searching side: takes contexts out of their ring one by one, gives up those that are stale, searches the store and
 * puts forecasts into theirs. It runs in the model's thread or in another one, and does not know which.
 */
import type { MapSearchOptions } from "./async-search.ts";
import type { ContextRing, SearchContext } from "./context-ring.ts";
import type { ExpertMapStore } from "./expert-map-store.ts";
import type { ForecastRing, MutableForecast } from "./forecast-ring.ts";
import { type LayerPlanning, type PlannedLayers, semanticTargets, trajectoryTargets } from "./layer-plan.ts";
import type { SearchState } from "./search-state.ts";
import { SemanticSearch } from "./semantic-search.ts";
import { TrajectorySearch } from "./trajectory-search.ts";

/** What became of a context. */
export type Served = "search" | "stale" | "update";

/** Rows of one token that are averaged at most; a common token has more, and they change little. */
const AVERAGED_ROWS = 64;

export function planningOf({ store, layerPlan = "exact", parts = "both" }: MapSearchOptions): LayerPlanning {
  return { layers: store.shape.layers, prefetchDistance: store.prefetchDistance, layerPlan, parts };
}

export class SearchServer {
  readonly #store: ExpertMapStore;
  readonly #contexts: ContextRing;
  readonly #forecasts: ForecastRing;
  readonly #state: SearchState;
  readonly #semantic: SemanticSearch;
  readonly #trajectory: TrajectorySearch;
  readonly #semanticTargets: PlannedLayers;
  readonly #trajectoryTargets: readonly PlannedLayers[];
  readonly #averages: boolean;
  readonly #tokenRows = new Int32Array(AVERAGED_ROWS);
  readonly #row: Float32Array;
  /** What the trajectory search has observed is of this one. */
  #iteration = -1;

  constructor(options: MapSearchOptions, contexts: ContextRing, forecasts: ForecastRing, state: SearchState) {
    const { store } = options;
    this.#store = store;
    this.#contexts = contexts;
    this.#forecasts = forecasts;
    this.#state = state;
    this.#semantic = new SemanticSearch(store);
    this.#trajectory = new TrajectorySearch(store, { abandon: options.abandon });
    const planning = planningOf(options);
    this.#semanticTargets = semanticTargets(planning);
    this.#trajectoryTargets = trajectoryTargets(planning);
    this.#averages = options.sameTokenRule === "mean";
    this.#row = new Float32Array(store.shape.experts);
  }

  /** Serves the oldest context; undefined when there is none. The forecast may be taken from `readyAtMs` on. */
  serve(readyAtMs: number): Served | undefined {
    const context = this.#contexts.first();
    if (context === undefined) return undefined;
    const served = this.#serve(context, readyAtMs);
    this.#contexts.pop();
    if (served === "stale") this.#state.add("stale");
    return served;
  }

  #serve(context: SearchContext, readyAtMs: number): Served {
    if (context.kind === "update") {
      this.#store.insert(context.embedding, context.rows, context.tokenId);
      this.#state.add("updates");
      return "update";
    }
    if (context.iteration !== this.#state.iteration) return "stale";
    const source = context.endLayer - 1;
    const planned = context.kind === "semantic" ? this.#semanticTargets : this.#trajectoryTargets[source];
    // Later searches of this iteration need what this one observed, whether it is searched itself or not.
    if (context.kind === "trajectory") this.#observe(context);
    if (planned.first + planned.count - 1 <= this.#state.layer) return "stale";
    this.#state.add(context.kind);
    const forecast = this.#forecasts.free();
    if (forecast === undefined) {
      this.#state.add("droppedForecasts");
      return "search";
    }
    forecast.kind = context.kind;
    forecast.iteration = context.iteration;
    forecast.sourceLayer = source;
    forecast.firstTarget = planned.first;
    forecast.targets = planned.count;
    forecast.readyAtMs = readyAtMs;
    const { neighbours } = this.#forecasts.shape;
    if (context.kind === "semantic") this.#searchSemantic(context, forecast);
    else {
      forecast.matches = this.#trajectory.nearest(neighbours, forecast.rows, forecast.scores);
      this.#readMatches(forecast);
    }
    if (forecast.matches > 0) this.#forecasts.publish();
    else this.#state.add("empty");
    return "search";
  }

  #observe({ iteration, firstLayer, endLayer, rows }: SearchContext): void {
    const { experts } = this.#store.shape;
    if (iteration !== this.#iteration) {
      this.#trajectory.reset();
      this.#iteration = iteration;
    }
    // The kernels see one kind of memory for queries only: copies, not views of shared memory.
    for (let layer = firstLayer; layer < endLayer; layer++) {
      for (let j = 0; j < experts; j++) this.#row[j] = rows[layer * experts + j];
      this.#trajectory.observe(layer, this.#row);
    }
  }

  #searchSemantic({ embedding, tokenId }: SearchContext, forecast: MutableForecast): void {
    const { neighbours } = this.#forecasts.shape;
    const same = this.#semantic.rowsOfToken(tokenId, this.#tokenRows);
    if (same > 0 && this.#averages) {
      this.#averageRows(same, forecast);
      return;
    }
    // An id that is in the store has cosine 1; only for more neighbours than it has rows is there more to find.
    if (same > 0 && (neighbours === 1 || embedding === undefined)) {
      forecast.matches = Math.min(same, neighbours);
      for (let i = 0; i < forecast.matches; i++) {
        forecast.rows[i] = this.#tokenRows[i];
        forecast.scores[i] = 1;
      }
    } else
      forecast.matches =
        embedding === undefined ? 0 : this.#semantic.nearest(neighbours, embedding, forecast.rows, forecast.scores);
    this.#readMatches(forecast);
  }

  #averageRows(same: number, forecast: MutableForecast): void {
    const { experts } = this.#store.shape;
    const { probabilities, firstTarget, targets } = forecast;
    forecast.matches = 1;
    forecast.rows[0] = this.#tokenRows[0];
    forecast.scores[0] = 1;
    probabilities.fill(0, 0, targets * experts);
    for (let i = 0; i < same; i++)
      for (let target = 0; target < targets; target++) {
        this.#store.readRow(this.#tokenRows[i], firstTarget + target, this.#row);
        for (let j = 0; j < experts; j++) probabilities[target * experts + j] += this.#row[j] / same;
      }
  }

  #readMatches({ matches, rows, probabilities, firstTarget, targets }: MutableForecast): void {
    const { experts } = this.#store.shape;
    for (let i = 0; i < matches; i++)
      for (let target = 0; target < targets; target++)
        this.#store.readRow(rows[i], firstTarget + target, probabilities, (i * targets + target) * experts);
  }
}
