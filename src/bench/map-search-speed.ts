/** How long searches of expert maps take: in the thread that asks, by rows and encoding, and what a thread of their own costs the model's. */
import {
  ExpertMapStore,
  InlineSearch,
  type MapEncoding,
  type MapSearch,
  NO_TOKEN,
  WorkerSearch,
} from "../maps/index.ts";
import { type Abandonment, TrajectorySearch } from "../maps/trajectory-search.ts";
import { quantile } from "./quantile.ts";

export interface SearchedShape {
  readonly layers: number;
  readonly experts: number;
}

export interface SearchSpeed {
  readonly rows: number;
  readonly encoding: MapEncoding;
  /** undefined: all rows were followed. */
  readonly abandon: Abandonment | undefined;
  readonly p50Us: number;
  readonly p99Us: number;
  /** All layers of a token together, median. */
  readonly tokenUs: number;
  readonly storeBytes: number;
}

export interface ThreadSpeed {
  readonly rows: number;
  /** Publishing a layer and looking for forecasts, in the model's thread. */
  readonly p50Us: number;
  readonly p99Us: number;
  /** Forecasts that came in time, of those that could, with this many ms of computing between two routers. */
  readonly betweenRoutersMs: number;
  readonly taken: number;
  readonly planned: number;
}

/** Different maps; more would only take longer to make, the arithmetic is the same for all. */
const DIFFERENT_MAPS = 64;
const DISTANCE = 6;

function maps({ layers, experts }: SearchedShape): Float32Array[] {
  return Array.from({ length: DIFFERENT_MAPS }, () =>
    Float32Array.from({ length: layers * experts }, () => Math.random() ** 4),
  );
}

export function filledStore(shape: SearchedShape, rows: number, encoding: MapEncoding): ExpertMapStore {
  const store = new ExpertMapStore({
    shape: { ...shape, hiddenSize: 0 },
    capacity: rows,
    prefetchDistance: DISTANCE,
    encoding,
  });
  const known = maps(shape);
  for (let row = 0; row < rows; row++) store.insert(undefined, known[row % DIFFERENT_MAPS]);
  return store;
}

/** One search per layer, as the running iteration makes it. */
export function measureSearch(store: ExpertMapStore, tokens: number, abandon?: Abandonment): SearchSpeed {
  const { layers, experts } = store.shape;
  const queries = maps(store.shape);
  const search = new TrajectorySearch(store, { abandon });
  const match = { row: 0, score: 0 };
  const layerUs: number[] = [];
  const tokenUs: number[] = [];
  const probabilities = new Float32Array(experts);
  for (let token = 0; token < 2 * tokens; token++) {
    search.reset();
    let sum = 0;
    for (let layer = 0; layer < layers; layer++) {
      probabilities.set(queries[token % DIFFERENT_MAPS].subarray(layer * experts, (layer + 1) * experts));
      const startMs = performance.now();
      search.observe(layer, probabilities);
      search.best(match);
      const us = 1000 * (performance.now() - startMs);
      sum += us;
      // The first half is for the compiler.
      if (token >= tokens) layerUs.push(us);
    }
    if (token >= tokens) tokenUs.push(sum);
  }
  return {
    rows: store.size,
    encoding: store.encoding,
    abandon,
    p50Us: quantile(layerUs, 0.5),
    p99Us: quantile(layerUs, 0.99),
    tokenUs: quantile(tokenUs, 0.5),
    storeBytes: store.bytes,
  };
}

/** The model's thread, which computes for a while between two routers. */
export function measureThread(store: ExpertMapStore, tokens: number, betweenRoutersMs: number): ThreadSpeed {
  const search: MapSearch = new WorkerSearch({ store });
  const { layers, experts } = store.shape;
  const queries = maps(store.shape);
  const us: number[] = [];
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let taken = 0;
  for (let token = 0; token < tokens; token++) {
    search.begin(token, undefined, NO_TOKEN, 0);
    for (let layer = 0; layer < layers; layer++) {
      const startMs = performance.now();
      taken += search.take(0, () => {});
      search.observe(layer, queries[token % DIFFERENT_MAPS].subarray(layer * experts, (layer + 1) * experts), 0);
      us.push(1000 * (performance.now() - startMs));
      Atomics.wait(pause, 0, 0, betweenRoutersMs);
    }
  }
  search.close();
  const planned = tokens * Math.max(0, layers - DISTANCE);
  return { rows: store.size, p50Us: quantile(us, 0.5), p99Us: quantile(us, 0.99), betweenRoutersMs, taken, planned };
}

/** What storing one map costs in a full store, µs, median. */
export function measureUpdate(store: ExpertMapStore, updates: number): number {
  const known = maps(store.shape);
  const search = new InlineSearch({ store });
  const us = Array.from({ length: updates }, (_, i) => {
    const startMs = performance.now();
    search.update(undefined, known[i % DIFFERENT_MAPS], NO_TOKEN, 0);
    return 1000 * (performance.now() - startMs);
  });
  return quantile(us, 0.5);
}
