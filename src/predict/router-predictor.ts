/**
 * A learned predictor of routing: for a layer's router input, what the router of a later layer will say (ProMoE, arXiv
 * 2410.22134). Plain data without behaviour: training makes it, a file keeps it, `PredictorRuntime` computes with it.
 */

export const PREDICTOR_KINDS = ["mlp", "linear"] as const;
/** `mlp`: one inner layer of `width` ReLU units; `linear`: one matrix. */
export type PredictorKind = (typeof PREDICTOR_KINDS)[number];

/** One pair of layers. The last column of each matrix is what it adds (the bias). */
export interface PredictorHead {
  /** MoE layer whose router input is read. */
  readonly layer: number;
  /** The layer that is predicted is `layer + distance`, at least 1. */
  readonly distance: number;
  /** `[width][hiddenSize + 1]`; undefined for a linear head, whose `outer` reads the input. */
  readonly inner: Float32Array | undefined;
  /** `[experts][width + 1]`, or `[experts][hiddenSize + 1]`. */
  readonly outer: Float32Array;
}

/** The model that a predictor was trained for. */
export interface PredictedModel {
  readonly name: string;
  /** SHA-256 of the header of the model's files, as in a trace. */
  readonly hash: string;
  /** SHA-256 of the vocabulary's tokens; null when unknown. */
  readonly tokenizerHash: string | null;
  /** MoE layers. */
  readonly layers: number;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly hiddenSize: number;
}

/**
 * How many of the experts that a layer chose were among as many that a guess named, 0..1, on held-out prompts. All
 * guesses see the same tokens.
 */
export interface HeadRecall {
  readonly layer: number;
  readonly distance: number;
  /** Held-out tokens. */
  readonly tokens: number;
  readonly predictor: number;
  /** The predicted layer's own router applied to this layer's input; NaN without the model's file. */
  readonly nextGate: number;
  /** The experts most often chosen in training. */
  readonly popularity: number;
  /** What the token before chose in the predicted layer. */
  readonly previousToken: number;
}

export interface RouterPredictor {
  readonly model: PredictedModel;
  readonly kind: PredictorKind;
  /** ReLU units of a head; 0 when linear. */
  readonly width: number;
  /** Layers skipped: the nearest predicted layer is `layer + 1 + stride`. */
  readonly stride: number;
  /** Successive layers predicted from one input. */
  readonly window: number;
  /** By layer, then by distance. */
  readonly heads: readonly PredictorHead[];
  /** One for each head, in their order. */
  readonly recall: readonly HeadRecall[];
  /** Wall time of the training. */
  readonly trainingMs: number;
}

/** Pairs of layers that a predictor of this reach has, in the order of its heads. */
export function headPlaces(
  layers: number,
  { stride, window }: { readonly stride: number; readonly window: number },
): { readonly layer: number; readonly distance: number }[] {
  return Array.from({ length: layers }, (_, layer) =>
    Array.from({ length: window }, (_, i) => ({ layer, distance: 1 + stride + i })),
  )
    .flat()
    .filter(({ layer, distance }) => layer + distance < layers);
}
