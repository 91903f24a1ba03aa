/**
 * The store of past iterations: for each row an expert map (every layer's router distribution), the token's embedding and
 * its id. It takes rows until it is full and then gives up the row that the new one makes redundant. Its arrays are shared
 * memory, so a search in another thread sees the same rows; it searches nothing itself and reads no file.
 */
import { CodedRows, type SharedRows } from "./coded-rows.ts";
import { type MapShape, mapLength, NO_ROW, NO_TOKEN } from "./map-shape.ts";
import type { MapEncoding } from "./value-codes.ts";

export interface ExpertMapStoreOptions {
  readonly shape: MapShape;
  /** Rows at most (C). @default 1000, the knee of the paper's figure 16a */
  readonly capacity?: number;
  /** d: the weight of embeddings against maps in the redundancy score is d/L to (L-d)/L. */
  readonly prefetchDistance: number;
  /** @default "f32" */
  readonly encoding?: MapEncoding;
  /** What made distributions of the router's scores, such as "softmax". @default "softmax" */
  readonly normaliser?: string;
  /** SHA-256 of the model that the maps are of; undefined when unknown. */
  readonly modelHash?: string | undefined;
  /** No row is added or replaced. @default false */
  readonly frozen?: boolean;
}

/** A store as it goes to another thread, which makes its own `ExpertMapStore` of it over the same memory. */
export interface SharedStore {
  readonly options: ExpertMapStoreOptions;
  readonly state: SharedArrayBuffer;
  readonly tokenIds: SharedArrayBuffer;
  readonly rowVersions: SharedArrayBuffer;
  readonly inverseNorms: SharedArrayBuffer;
  readonly embeddingInverseNorms: SharedArrayBuffer;
  readonly maps: SharedRows;
  readonly embeddings: SharedRows;
}

export const DEFAULT_CAPACITY = 1000;

/** How far from 1 the sum of a distribution may be; bf16 gates are off by more and are made to sum to 1. */
const SUM_TOLERANCE = 1e-5;

const STATE = { size: 0, version: 1, replaced: 2, refused: 3, words: 4 } as const;

export class ExpertMapStore {
  readonly shape: MapShape;
  readonly capacity: number;
  readonly prefetchDistance: number;
  readonly encoding: MapEncoding;
  readonly normaliser: string;
  readonly modelHash: string | undefined;
  readonly frozen: boolean;
  readonly shared: SharedStore;
  /**
   * `[layers][capacity]` rows: one layer of all maps lies together, because a search multiplies one layer at a time.
   * For the searches and the file; others use `readRow`.
   */
  readonly maps: CodedRows;
  /** `[capacity]` rows. */
  readonly embeddings: CodedRows;
  /** `[layers][capacity]`: 1 / length of a row's map up to and with the layer, flattened. */
  readonly inverseNorms: Float32Array;
  /** `[capacity]`: 1 / length, or 0 for a zero embedding. */
  readonly embeddingInverseNorms: Float32Array;
  /** `[capacity]`: `version` when the row was written. */
  readonly rowVersions: Float64Array;
  /** `[capacity]`: see `tokenId`. */
  readonly tokenIds: Int32Array;
  /** 0 .. capacity-1: the first `size` of them are the rows that are filled. */
  readonly everyRow: Int32Array;
  readonly #state: Float64Array;
  /** The row that is inserted, decoded: `[layers][experts]`. */
  readonly #incoming: Float32Array;
  /** Views of it, one per layer. */
  readonly #incomingLayers: readonly Float32Array[];
  /** One decoded row of a layer, or an embedding. */
  readonly #decoded: Float32Array;
  readonly #mapDots: Float64Array;
  readonly #embeddingDots: Float64Array;

  /** @throws RangeError for sizes that are no sizes */
  constructor(options: ExpertMapStoreOptions, shared: SharedStore = allocate(options)) {
    const { shape, capacity = DEFAULT_CAPACITY, encoding = "f32" } = options;
    this.shape = shape;
    this.capacity = capacity;
    this.prefetchDistance = options.prefetchDistance;
    this.encoding = encoding;
    this.normaliser = options.normaliser ?? "softmax";
    this.modelHash = options.modelHash;
    this.frozen = options.frozen ?? false;
    this.shared = shared;
    const { layers, experts, hiddenSize } = shape;
    this.maps = new CodedRows(
      { encoding, rows: layers * capacity, width: experts, values: "distribution" },
      shared.maps,
    );
    this.embeddings = new CodedRows(
      { encoding, rows: capacity, width: hiddenSize, values: "signed" },
      shared.embeddings,
    );
    this.inverseNorms = new Float32Array(shared.inverseNorms);
    this.embeddingInverseNorms = new Float32Array(shared.embeddingInverseNorms);
    this.rowVersions = new Float64Array(shared.rowVersions);
    this.tokenIds = new Int32Array(shared.tokenIds);
    this.everyRow = Int32Array.from({ length: capacity }, (_, row) => row);
    this.#state = new Float64Array(shared.state);
    this.#incoming = new Float32Array(mapLength(shape));
    this.#incomingLayers = Array.from({ length: layers }, (_, layer) =>
      this.#incoming.subarray(layer * experts, (layer + 1) * experts),
    );
    this.#decoded = new Float32Array(Math.max(experts, hiddenSize));
    this.#mapDots = new Float64Array(capacity);
    this.#embeddingDots = new Float64Array(capacity);
  }

  /** Rows that are filled: 0 .. size-1. */
  get size(): number {
    return this.#state[STATE.size];
  }

  /** Grows by 1 whenever a row is written. */
  get version(): number {
    return this.#state[STATE.version];
  }

  /** Rows that were replaced because the store was full. */
  get replaced(): number {
    return this.#state[STATE.replaced];
  }

  /** Maps that were refused because a value was negative, infinite or not a number, or a layer was all zero. */
  get refused(): number {
    return this.#state[STATE.refused];
  }

  /** All arrays at full capacity, embeddings included. */
  get bytes(): number {
    const { state, tokenIds, rowVersions, inverseNorms, embeddingInverseNorms } = this.shared;
    return (
      this.maps.bytes +
      this.embeddings.bytes +
      [state, tokenIds, rowVersions, inverseNorms, embeddingInverseNorms].reduce(
        (sum, { byteLength }) => sum + byteLength,
        0,
      )
    );
  }

  /**
   * Stores one iteration, in a full store in place of the row with the highest redundancy score (of equals the lowest).
   * Layers that do not sum to 1 within 1e-5 are made to.
   * @param embedding `[hiddenSize]`, or undefined when unknown (it then resembles nothing)
   * @param map `[layers][experts]`
   * @returns the row; NO_ROW when the store is frozen or the map or the embedding is refused (see `refused`)
   */
  insert(embedding: Float32Array | undefined, map: Float32Array, tokenId: number = NO_TOKEN): number {
    if (this.frozen) return NO_ROW;
    if (!this.#normalise(map) || (embedding !== undefined && !this.#isEmbedding(embedding))) {
      this.#state[STATE.refused]++;
      return NO_ROW;
    }
    let row = this.size;
    if (row === this.capacity) {
      row = this.#mostRedundant(embedding, tokenId);
      this.#state[STATE.replaced]++;
    } else this.#state[STATE.size]++;
    this.#write(row, embedding, tokenId);
    return row;
  }

  /** The decoded distribution of a layer. @param into receives `experts` values from `at` on */
  readRow(row: number, layer: number, into: Float32Array, at = 0): void {
    this.maps.read(layer * this.capacity + row, into, at);
  }

  /** The decoded embedding; all zero when it was not known. @param into `[hiddenSize]` */
  readEmbedding(row: number, into: Float32Array, at = 0): void {
    this.embeddings.read(row, into, at);
  }

  /** Id of the token that the row is of, or NO_TOKEN. */
  tokenId(row: number): number {
    return this.tokenIds[row];
  }

  /** Adds to `dots[row]` the product of a layer's distribution with that of each of the first `count` of `rows`. */
  addLayerDots(layer: number, probabilities: Float32Array, rows: Int32Array, count: number, dots: Float64Array): void {
    this.maps.addDots(probabilities, layer * this.capacity, rows, count, dots);
  }

  /** Copies the map with each layer summing to 1; false when it has values that no distribution has. */
  #normalise(map: Float32Array): boolean {
    const { layers, experts } = this.shape;
    const incoming = this.#incoming;
    if (map.length !== incoming.length) return false;
    for (let layer = 0; layer < layers; layer++) {
      const from = layer * experts;
      let sum = 0;
      for (let j = from; j < from + experts; j++) {
        // NaN fails this too.
        if (!(map[j] >= 0)) return false;
        sum += map[j];
      }
      if (!(sum > 0 && sum < Number.POSITIVE_INFINITY)) return false;
      const scale = Math.abs(sum - 1) > SUM_TOLERANCE ? 1 / sum : 1;
      for (let j = from; j < from + experts; j++) incoming[j] = map[j] * scale;
    }
    return true;
  }

  #isEmbedding(embedding: Float32Array): boolean {
    const { hiddenSize } = this.shape;
    if (hiddenSize === 0) return true;
    if (embedding.length !== hiddenSize) return false;
    for (let i = 0; i < hiddenSize; i++) if (!Number.isFinite(embedding[i])) return false;
    return true;
  }

  /**
   * The first `tokenIds.length` rows of maps and embeddings were filled from a file, and checked: what follows from them is
   * computed. Only for an empty store.
   */
  adoptRows(tokenIds: Int32Array): void {
    for (let row = 0; row < tokenIds.length; row++) this.#finishRow(row, tokenIds[row]);
    this.#state[STATE.size] = tokenIds.length;
  }

  #write(row: number, embedding: Float32Array | undefined, tokenId: number): void {
    const { layers, experts, hiddenSize } = this.shape;
    for (let layer = 0; layer < layers; layer++)
      this.maps.write(layer * this.capacity + row, this.#incoming, layer * experts);
    if (hiddenSize > 0) this.embeddings.write(row, embedding ?? this.#decoded.fill(0));
    this.#finishRow(row, tokenId);
  }

  /** Lengths are those of the decoded values, so that a row has cosine 1 with itself whatever was rounded. */
  #finishRow(row: number, tokenId: number): void {
    const { layers, experts, hiddenSize } = this.shape;
    const decoded = this.#decoded;
    let squares = 0;
    for (let layer = 0; layer < layers; layer++) {
      const at = layer * this.capacity + row;
      this.maps.read(at, decoded);
      for (let j = 0; j < experts; j++) squares += decoded[j] * decoded[j];
      this.inverseNorms[at] = 1 / Math.sqrt(squares);
    }
    if (hiddenSize > 0) {
      this.embeddings.read(row, decoded);
      let length = 0;
      for (let i = 0; i < hiddenSize; i++) length += decoded[i] * decoded[i];
      this.embeddingInverseNorms[row] = length > 0 ? 1 / Math.sqrt(length) : 0;
    }
    this.tokenIds[row] = tokenId;
    this.rowVersions[row] = ++this.#state[STATE.version];
  }

  /**
   * argmax of d/L cos(embeddings) + (L-d)/L cos(maps). Where embeddings are not known, the same token is as good as a
   * cosine of 1, and when even that is not known the maps alone decide.
   */
  #mostRedundant(embedding: Float32Array | undefined, tokenId: number): number {
    const { layers, experts, hiddenSize } = this.shape;
    const { size, capacity, inverseNorms, embeddingInverseNorms } = this;
    const mapDots = this.#mapDots.fill(0);
    let squares = 0;
    for (let layer = 0; layer < layers; layer++) {
      const query = this.#incomingLayers[layer];
      this.addLayerDots(layer, query, this.everyRow, size, mapDots);
      for (let j = 0; j < experts; j++) squares += query[j] * query[j];
    }
    const embeddingDots = this.#embeddingDots.fill(0);
    const known = hiddenSize > 0 && embedding !== undefined;
    let embeddingLength = 0;
    if (known) {
      this.embeddings.addDots(embedding, 0, this.everyRow, size, embeddingDots);
      for (let i = 0; i < hiddenSize; i++) embeddingLength += embedding[i] * embedding[i];
    }
    const embeddingScale = embeddingLength > 0 ? 1 / Math.sqrt(embeddingLength) : 0;
    const share = known || tokenId !== NO_TOKEN ? Math.min(1, this.prefetchDistance / layers) : 0;
    const last = (layers - 1) * capacity;
    const mapScale = 1 / Math.sqrt(squares);
    let best = 0;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let row = 0; row < size; row++) {
      const semantic = known
        ? embeddingDots[row] * embeddingScale * embeddingInverseNorms[row]
        : this.tokenIds[row] === tokenId
          ? 1
          : 0;
      const score = share * semantic + (1 - share) * mapDots[row] * mapScale * inverseNorms[last + row];
      if (score > bestScore) {
        best = row;
        bestScore = score;
      }
    }
    return best;
  }
}

function allocate(options: ExpertMapStoreOptions): SharedStore {
  const { shape, capacity = DEFAULT_CAPACITY, encoding = "f32" } = options;
  const { layers, experts, hiddenSize } = shape;
  requireCount("layers", layers, 1);
  requireCount("experts", experts, 1);
  requireCount("hiddenSize", hiddenSize, 0);
  requireCount("capacity", capacity, 1);
  requireCount("prefetchDistance", options.prefetchDistance, 1);
  const tokenIds = new SharedArrayBuffer(capacity * 4);
  new Int32Array(tokenIds).fill(NO_TOKEN);
  return {
    options: { ...options },
    state: new SharedArrayBuffer(STATE.words * 8),
    tokenIds,
    rowVersions: new SharedArrayBuffer(capacity * 8),
    inverseNorms: new SharedArrayBuffer(layers * capacity * 4),
    embeddingInverseNorms: new SharedArrayBuffer(capacity * 4),
    maps: new CodedRows({ encoding, rows: layers * capacity, width: experts, values: "distribution" }).shared,
    embeddings: new CodedRows({ encoding, rows: capacity, width: hiddenSize, values: "signed" }).shared,
  };
}

function requireCount(name: string, value: number, lowest: number): void {
  if (!Number.isSafeInteger(value) || value < lowest)
    throw new RangeError(`${name} of an expert map store must be a whole number from ${lowest} up, not ${value}`);
}
