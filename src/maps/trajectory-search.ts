/**
 * Which stored maps resemble the running iteration so far: the cosine of all layers observed, flattened, with the same
 * layers of every row. Running dot products make that one pass over one layer's rows per router decision. Optionally only
 * the best rows after the first layers are followed further, for stores of tens of thousands.
 */
import { BestMatches, type Match } from "./best-matches.ts";
import type { ExpertMapStore } from "./expert-map-store.ts";
import { NO_ROW } from "./map-shape.ts";

/** Early abandonment: after `layers` layers only the `rows` best rows are followed. The result is then an approximation. */
export interface Abandonment {
  readonly layers: number;
  readonly rows: number;
}

export interface TrajectorySearchOptions {
  /** @default all rows are followed to the end */
  readonly abandon?: Abandonment | undefined;
}

/** Fine enough that the bucket at the threshold is a small part of tens of thousands of rows. */
const SCORE_BUCKETS = 4096;

export class TrajectorySearch {
  readonly #store: ExpertMapStore;
  readonly #abandon: Abandonment | undefined;
  readonly #dots: Float64Array;
  /** What was observed, `[layers][experts]`: a row that is replaced in between is multiplied again with all of it. */
  readonly #observed: Float32Array;
  /** Views of `#observed`, one per layer. */
  readonly #queries: readonly Float32Array[];
  #layers = 0;
  #squares = 0;
  #version = 0;
  /** Rows at the last look. */
  #size = 0;
  /** Rows that are followed, ascending, when some were abandoned; else all are. */
  readonly #followed: Int32Array;
  readonly #histogram = new Int32Array(SCORE_BUCKETS);
  #followedCount = 0;
  #narrow = false;
  readonly #matches = new BestMatches();
  readonly #oneRow = new Int32Array(1);
  readonly #bestRow = new Int32Array(1);
  readonly #bestScore = new Float32Array(1);

  constructor(store: ExpertMapStore, options: TrajectorySearchOptions = {}) {
    const { layers, experts } = store.shape;
    this.#store = store;
    this.#abandon = options.abandon;
    this.#dots = new Float64Array(store.capacity);
    this.#observed = new Float32Array(layers * experts);
    this.#queries = Array.from({ length: layers }, (_, layer) =>
      this.#observed.subarray(layer * experts, (layer + 1) * experts),
    );
    this.#followed = new Int32Array(Math.min(options.abandon?.rows ?? 0, store.capacity));
  }

  /** Layers observed since `reset`. */
  get observedLayers(): number {
    return this.#layers;
  }

  /** A new iteration begins. */
  reset(): void {
    this.#layers = 0;
    this.#squares = 0;
    this.#narrow = false;
    this.#dots.fill(0, 0, this.#store.size);
    this.#size = this.#store.size;
    this.#version = this.#store.version;
  }

  /**
   * The router of `layer` has decided. One pass over the layer's rows, O(rows x experts).
   * @param gateProbs `[experts]`
   * @throws RangeError when a layer is left out or comes again
   */
  observe(layer: number, gateProbs: Float32Array): void {
    if (layer !== this.#layers) throw new RangeError(`layer ${layer} observed, but layer ${this.#layers} comes next`);
    const query = this.#queries[layer];
    const { experts } = this.#store.shape;
    this.#catchUp();
    for (let j = 0; j < experts; j++) {
      const p = gateProbs[j];
      query[j] = p;
      this.#squares += p * p;
    }
    this.#layers++;
    const rows = this.#narrow ? this.#followed : this.#store.everyRow;
    this.#store.addLayerDots(layer, query, rows, this.#narrow ? this.#followedCount : this.#size, this.#dots);
    if (this.#layers === this.#abandon?.layers && this.#size > this.#followed.length) this.#abandonWorst();
  }

  /** The row with the highest cosine; NO_ROW before the first layer and in an empty store. */
  best(into: Match): Match {
    const found = this.nearest(1, this.#bestRow, this.#bestScore);
    into.row = found === 0 ? NO_ROW : this.#bestRow[0];
    into.score = found === 0 ? 0 : this.#bestScore[0];
    return into;
  }

  /** The k nearest, best first. @returns how many there are */
  nearest(k: number, bestRows: Int32Array, scores: Float32Array): number {
    if (this.#layers === 0) return 0;
    this.#catchUp();
    const { inverseNorms, capacity } = this.#store;
    const dots = this.#dots;
    const from = (this.#layers - 1) * capacity;
    const scale = this.#squares > 0 ? 1 / Math.sqrt(this.#squares) : 0;
    const matches = this.#matches;
    matches.begin(k, bestRows, scores);
    const rows = this.#narrow ? this.#followed : this.#store.everyRow;
    const count = this.#narrow ? this.#followedCount : this.#size;
    for (let i = 0; i < count; i++) {
      const row = rows[i];
      matches.offer(row, Math.min(1, dots[row] * scale * inverseNorms[from + row]));
    }
    return matches.count;
  }

  /** Multiplies rows that were written since the last look with everything observed. */
  #catchUp(): void {
    const { version, size, rowVersions } = this.#store;
    if (version === this.#version) return;
    const one = this.#oneRow;
    for (let row = 0; row < size; row++) {
      if (rowVersions[row] <= this.#version) continue;
      this.#dots[row] = 0;
      one[0] = row;
      for (let layer = 0; layer < this.#layers; layer++)
        this.#store.addLayerDots(layer, this.#queries[layer], one, 1, this.#dots);
    }
    this.#version = version;
    this.#size = size;
  }

  /** Follows the best rows: those above a threshold that a histogram of the scores gives, and of its bucket the lowest. */
  #abandonWorst(): void {
    const { inverseNorms, capacity } = this.#store;
    const from = (this.#layers - 1) * capacity;
    const dots = this.#dots;
    const size = this.#size;
    let low = Number.POSITIVE_INFINITY;
    let high = 0;
    for (let row = 0; row < size; row++) {
      const score = dots[row] * inverseNorms[from + row];
      if (score < low) low = score;
      if (score > high) high = score;
    }
    const histogram = this.#histogram.fill(0);
    const perScore = high > low ? (SCORE_BUCKETS - 1) / (high - low) : 0;
    for (let row = 0; row < size; row++) histogram[((dots[row] * inverseNorms[from + row] - low) * perScore) | 0]++;
    const wanted = this.#followed.length;
    let threshold = SCORE_BUCKETS - 1;
    let above = 0;
    while (above + histogram[threshold] <= wanted) above += histogram[threshold--];
    let fromBucket = wanted - above;
    let count = 0;
    for (let row = 0; row < size; row++) {
      const bucket = ((dots[row] * inverseNorms[from + row] - low) * perScore) | 0;
      if (bucket > threshold || (bucket === threshold && fromBucket-- > 0)) this.#followed[count++] = row;
    }
    this.#followedCount = count;
    this.#narrow = true;
  }
}
