/**
 * Makes expert maps of what the routers decide: collects each layer's distributions over the micro-batches of an iteration
 * and hands out whole maps, never one that lacks a layer. It does not store them.
 */
import { type MapShape, mapLength, NO_TOKEN } from "./map-shape.ts";

/**
 * What becomes one row when an iteration has several tokens. "token": each token; "last-token": the last one of the last
 * micro-batch; "mean": all together, each layer the mean over the tokens that it computed.
 */
export type RecordMode = "token" | "last-token" | "mean";

export interface MapRecorderOptions {
  readonly shape: MapShape;
  readonly mode: RecordMode;
  /**
   * Called for each whole map. The arrays are reused; they are valid until it returns.
   * @param embedding `[hiddenSize]` of the token (with "mean" the mean), undefined when not known
   * @param map `[layers][experts]`, as observed; the store makes layers sum to 1
   * @param tokenId NO_TOKEN for the mean of several
   */
  readonly onMap: (embedding: Float32Array | undefined, map: Float32Array, tokenId: number) => void;
}

/** The part of `IterationStart` that it needs. */
export interface RecordedBatch {
  readonly phase: "prefill" | "decode";
  readonly request: number;
  readonly tokens: number;
  readonly tokenIds: Int32Array;
  /** `[tokens][hiddenSize]` */
  readonly embeddings: Float32Array | undefined;
}

export class MapRecorder {
  readonly #options: MapRecorderOptions;
  readonly #length: number;
  /** What is collected, one map per kept token: `[tokens][layers][experts]`; "last-token" and "mean" keep one. */
  #maps: Float32Array;
  /** Views of `#maps`, made only when it grows. */
  #views: readonly Float32Array[] = [];
  #tokenIds: Int32Array;
  #embeddings: Float32Array;
  #embeddingViews: readonly Float32Array[] = [];
  #hasEmbeddings = false;
  /** Tokens of the micro-batch, and of the iteration so far. */
  #batchTokens = 0;
  #tokens = 0;
  /** First token of the micro-batch that every layer so far computed. */
  #firstWhole = 0;
  #nextLayer = 0;
  /** "mean": rows that were added, by layer. */
  readonly #layerTokens: Int32Array;
  #request = -1;
  #prefill = false;

  constructor(options: MapRecorderOptions) {
    const { shape } = options;
    this.#options = options;
    this.#length = mapLength(shape);
    this.#maps = new Float32Array(0);
    this.#tokenIds = new Int32Array(0);
    this.#embeddings = new Float32Array(0);
    this.#layerTokens = new Int32Array(shape.layers);
    this.#reserve(1);
  }

  /** A micro-batch begins. Prefill micro-batches of one request are one iteration; a decode step is one by itself. */
  batch(batch: RecordedBatch): void {
    const { mode } = this.#options;
    const prefill = batch.phase === "prefill";
    const continues = prefill && this.#prefill && batch.request === this.#request;
    if (!continues) this.finish();
    this.#prefill = prefill;
    this.#request = batch.request;
    this.#batchTokens = batch.tokens;
    this.#nextLayer = 0;
    this.#firstWhole = 0;
    this.#tokens += batch.tokens;
    this.#reserve(mode === "token" ? batch.tokens : 1);
    if (mode === "token") this.#tokenIds.set(batch.tokenIds.subarray(0, batch.tokens));
    else this.#tokenIds[0] = mode === "mean" && this.#tokens > 1 ? NO_TOKEN : batch.tokenIds[batch.tokens - 1];
    this.#keepEmbeddings(batch);
  }

  /**
   * A layer's routers have decided. A layer may have computed fewer tokens than the micro-batch has (the last one computes
   * those with an output): they are the last ones.
   * @param probabilities `[tokens][experts]`
   */
  observe(layer: number, probabilities: Float32Array, tokens: number): void {
    if (layer !== this.#nextLayer || tokens > this.#batchTokens) {
      this.#nextLayer = -1;
      return;
    }
    this.#nextLayer++;
    const { mode, shape } = this.#options;
    const { experts, layers } = shape;
    const at = layer * experts;
    const first = this.#batchTokens - tokens;
    this.#firstWhole = Math.max(this.#firstWhole, first);
    const maps = this.#maps;
    if (mode === "token")
      for (let token = 0; token < tokens; token++)
        for (let j = 0; j < experts; j++)
          maps[(first + token) * this.#length + at + j] = probabilities[token * experts + j];
    else if (mode === "last-token")
      for (let j = 0; tokens > 0 && j < experts; j++) maps[at + j] = probabilities[(tokens - 1) * experts + j];
    else {
      this.#layerTokens[layer] += tokens;
      for (let token = 0; token < tokens; token++)
        for (let j = 0; j < experts; j++) maps[at + j] += probabilities[token * experts + j];
    }
    if (this.#nextLayer !== layers) return;
    if (mode === "token") this.#giveTokens();
    else if (!this.#prefill) this.finish();
  }

  /** Nothing more comes of the iteration: its map is handed out if it is whole. Also for the end of all. */
  finish(): void {
    const { mode, onMap } = this.#options;
    if (mode === "mean") this.#giveMean();
    else if (mode === "last-token" && this.#tokens > 0 && this.#nextLayer === this.#options.shape.layers)
      if (this.#firstWhole < this.#batchTokens)
        onMap(this.#hasEmbeddings ? this.#embeddingViews[0] : undefined, this.#views[0], this.#tokenIds[0]);
    this.#tokens = 0;
    this.#batchTokens = 0;
    this.#nextLayer = 0;
    this.#hasEmbeddings = false;
    this.#request = -1;
  }

  #giveTokens(): void {
    for (let token = this.#firstWhole; token < this.#batchTokens; token++)
      this.#options.onMap(
        this.#hasEmbeddings ? this.#embeddingViews[token] : undefined,
        this.#views[token],
        this.#tokenIds[token],
      );
  }

  #giveMean(): void {
    const { shape, onMap } = this.#options;
    const [map] = this.#views;
    const [embedding] = this.#embeddingViews;
    if (this.#tokens > 0 && this.#layerTokens.every((tokens) => tokens > 0)) {
      for (let layer = 0; layer < shape.layers; layer++)
        for (let j = 0; j < shape.experts; j++) map[layer * shape.experts + j] /= this.#layerTokens[layer];
      for (let i = 0; i < embedding.length; i++) embedding[i] /= this.#tokens;
      onMap(this.#hasEmbeddings ? embedding : undefined, map, this.#tokenIds[0]);
    }
    map.fill(0);
    embedding.fill(0);
    this.#layerTokens.fill(0);
  }

  #keepEmbeddings({ embeddings, tokens }: RecordedBatch): void {
    const { mode, shape } = this.#options;
    const { hiddenSize } = shape;
    this.#hasEmbeddings = embeddings !== undefined && hiddenSize > 0;
    if (embeddings === undefined || hiddenSize === 0) return;
    const kept = this.#embeddings;
    if (mode === "token") for (let i = 0; i < tokens * hiddenSize; i++) kept[i] = embeddings[i];
    else if (mode === "last-token")
      for (let i = 0; i < hiddenSize; i++) kept[i] = embeddings[(tokens - 1) * hiddenSize + i];
    else for (let at = 0; at < tokens * hiddenSize; at++) kept[at % hiddenSize] += embeddings[at];
  }

  /** Grows to the largest micro-batch there was. */
  #reserve(tokens: number): void {
    if (tokens <= this.#views.length) return;
    const { hiddenSize } = this.#options.shape;
    this.#maps = new Float32Array(tokens * this.#length);
    this.#embeddings = new Float32Array(tokens * hiddenSize);
    this.#tokenIds = new Int32Array(tokens);
    const rows = (source: Float32Array, width: number) =>
      Array.from({ length: tokens }, (_, token) => source.subarray(token * width, (token + 1) * width));
    this.#views = rows(this.#maps, this.#length);
    this.#embeddingViews = rows(this.#embeddings, hiddenSize);
  }
}
