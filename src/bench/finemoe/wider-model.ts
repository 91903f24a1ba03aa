/**
 * What was learned on the traced model, for its inflated form: the residual stream has more dimensions there, all of them zero,
 * and the routers' inputs and embedding rows are the old ones in front (see `inflate-plan.ts`). So maps and predictors hold
 * when their rows are filled up with zeros.
 */
import { decodeStore, ExpertMapStore, encodeStore } from "../../maps/index.ts";
import type { PredictorHead, RouterPredictor } from "../../predict/router-predictor.ts";

/** A file of expert maps for a model of another width; other bytes are as they are. */
export function widerStore(
  learned: Uint8Array,
  { layers, experts, from, to }: { layers: number; experts: number; from: number; to: number },
): Uint8Array {
  const old = decodeStore(learned, { shape: { layers, experts, hiddenSize: from } });
  const { prefetchDistance, encoding, normaliser, modelHash } = old;
  const store = new ExpertMapStore({
    ...{ shape: { layers, experts, hiddenSize: to }, capacity: old.capacity },
    ...{ prefetchDistance, encoding, normaliser, modelHash },
  });
  const map = new Float32Array(layers * experts);
  const embedding = new Float32Array(to);
  for (let row = 0; row < old.size; row++) {
    for (let layer = 0; layer < layers; layer++) old.readRow(row, layer, map, layer * experts);
    old.readEmbedding(row, embedding);
    store.insert(embedding, map, old.tokenId(row));
  }
  return encodeStore(store);
}

/** The same predictions from inputs of another width. */
export function widerPredictor(predictor: RouterPredictor, to: number, hash: string): RouterPredictor {
  const { hiddenSize: from } = predictor.model;
  const wider = (matrix: Float32Array): Float32Array => {
    const rows = matrix.length / (from + 1);
    const filled = new Float32Array(rows * (to + 1));
    for (let row = 0; row < rows; row++) {
      filled.set(matrix.subarray(row * (from + 1), (row + 1) * (from + 1) - 1), row * (to + 1));
      // The last column is the bias.
      filled[(row + 1) * (to + 1) - 1] = matrix[(row + 1) * (from + 1) - 1];
    }
    return filled;
  };
  const heads = predictor.heads.map(
    (head): PredictorHead =>
      head.inner === undefined ? { ...head, outer: wider(head.outer) } : { ...head, inner: wider(head.inner) },
  );
  return { ...predictor, heads, model: { ...predictor.model, hiddenSize: to, hash } };
}
