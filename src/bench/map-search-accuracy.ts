/** What the compact encodings of expert maps change: how far values are off, and how often another map is found. On recorded maps. */
import { ExpertMapStore, MAP_ENCODINGS, type MapEncoding } from "../maps/index.ts";
import { type Abandonment, TrajectorySearch } from "../maps/trajectory-search.ts";
import type { TraceSource } from "../trace/trace.ts";

export interface EncodingAccuracy {
  readonly encoding: MapEncoding;
  readonly abandon: Abandonment | undefined;
  /** Largest difference of a decoded probability. */
  readonly maxError: number;
  /** Share of searches that find the same map as f32 without abandonment. */
  readonly sameMatch: number;
  /** Mean of how much lower the found map's true score is. */
  readonly scoreLoss: number;
  readonly searches: number;
}

/** Maps of a trace's tokens, `[layers][experts]`, sample by sample until there are enough. */
export async function recordedMaps(trace: TraceSource, wanted: number): Promise<Float32Array[]> {
  const { moeBlocks, experts } = trace.description.model;
  const length = moeBlocks.length * experts;
  const maps: Float32Array[] = [];
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, { probs: true })) {
      for (let token = 0; token < sample.length; token++) {
        const map = (sample.probs as Float32Array).slice(token * length, (token + 1) * length);
        // A last layer that was not computed has no distribution.
        if (map.every((p) => p >= 0)) maps.push(map);
        if (maps.length === wanted) return maps;
      }
    }
  return maps;
}

/** The first maps are stored; the others, later text, are looked for. */
export function measureAccuracy(
  shape: { readonly layers: number; readonly experts: number },
  maps: readonly Float32Array[],
  stored: number,
  abandon: Abandonment,
): EncodingAccuracy[] {
  const stores = new Map(
    MAP_ENCODINGS.map((encoding) => {
      const store = new ExpertMapStore({
        shape: { ...shape, hiddenSize: 0 },
        capacity: stored,
        prefetchDistance: 1,
        encoding,
      });
      for (const map of maps.slice(0, stored)) store.insert(undefined, map);
      return [encoding, store];
    }),
  );
  const exact = stores.get("f32") as ExpertMapStore;
  const settings: [MapEncoding, Abandonment | undefined][] = [
    ...MAP_ENCODINGS.map((encoding): [MapEncoding, undefined] => [encoding, undefined]),
    ["f32", abandon],
  ];
  return settings.map(([encoding, limit]) => {
    const store = stores.get(encoding) as ExpertMapStore;
    return {
      encoding,
      abandon: limit,
      maxError: maxError(exact, store),
      ...matches(exact, store, maps.slice(stored), limit),
    };
  });
}

function maxError(exact: ExpertMapStore, store: ExpertMapStore): number {
  const { layers, experts } = store.shape;
  const [wanted, decoded] = [new Float32Array(experts), new Float32Array(experts)];
  let worst = 0;
  for (let row = 0; row < store.size; row++)
    for (let layer = 0; layer < layers; layer++) {
      exact.readRow(row, layer, wanted);
      store.readRow(row, layer, decoded);
      for (let j = 0; j < experts; j++) worst = Math.max(worst, Math.abs(wanted[j] - decoded[j]));
    }
  return worst;
}

function matches(
  exact: ExpertMapStore,
  store: ExpertMapStore,
  queries: readonly Float32Array[],
  abandon: Abandonment | undefined,
): Pick<EncodingAccuracy, "sameMatch" | "scoreLoss" | "searches"> {
  const { layers, experts } = store.shape;
  const reference = new TrajectorySearch(exact);
  const search = new TrajectorySearch(store, { abandon });
  const rows = new Int32Array(exact.size);
  const scores = new Float32Array(exact.size);
  const match = { row: 0, score: 0 };
  let searches = 0;
  let same = 0;
  let loss = 0;
  for (const query of queries) {
    reference.reset();
    search.reset();
    for (let layer = 0; layer < layers; layer++) {
      const probabilities = query.subarray(layer * experts, (layer + 1) * experts);
      reference.observe(layer, probabilities);
      search.observe(layer, probabilities);
      search.best(match);
      // The neighbours of f32 tell what the other's choice is truly worth.
      const count = reference.nearest(Math.min(64, exact.size), rows, scores);
      const at = rows.subarray(0, count).indexOf(match.row);
      searches++;
      if (at === 0) same++;
      loss += scores[0] - scores[at < 0 ? count - 1 : at];
    }
  }
  return { searches, sameMatch: same / searches, scoreLoss: loss / searches };
}
