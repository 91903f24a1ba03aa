/**
 * Measures where the time between the engine's stops goes, layer by layer and product by product. It is laid over a
 * session's `ExpertStream` and can make the graph stop after every product, also where nothing has to be waited for.
 */
import type { ExpertStream } from "../engine/expert-stream.ts";

/** One forward pass. Times in ms; waiting for reads and the engine's own work are in none of `computeMs`. */
export interface PassTimes {
  readonly tokens: number;
  /** [layer] From the last product of the layer before (or the start of the pass) to this layer's router. */
  readonly beforeRouterMs: Float64Array;
  /** [layer][stage] One product and what comes with it. */
  readonly productMs: Float64Array;
  /** From the last product to the end of the pass. */
  readonly afterMs: number;
  /** [layer] Distinct experts. */
  readonly distinct: Int32Array;
  /** [layer] Of them, those that had to be read. */
  readonly misses: Int32Array;
  /** [layer] Inside router stops. */
  readonly managementMs: Float64Array;
  /**
   * [layer] From the router's stop to the first and to the last product's weights being there; 0 where nothing was waited
   * for, because it was there already.
   */
  readonly firstReadyMs: Float64Array;
  readonly lastReadyMs: Float64Array;
  /** Stops of the graph. */
  readonly stops: number;
  /** All of the pass but waiting and management. */
  readonly computeMs: number;
  readonly wallMs: number;
}

/** What looking takes. */
const NOT_WAITING_MS = 0.1;

export class StreamStopwatch {
  /** Stop the graph after every product. Only then are the times of products known. */
  everyProduct = false;
  readonly #layers: number;
  readonly #stages: number;
  #beforeRouterMs: Float64Array;
  #productMs: Float64Array;
  #distinct: Int32Array;
  #misses: Int32Array;
  #managementMs: Float64Array;
  #firstReadyMs: Float64Array;
  #lastReadyMs: Float64Array;
  #stops = 0;
  #waitingMs = 0;
  #layer = 0;
  #stage = 0;
  #routedAt = 0;
  /** End of what was measured last. */
  #at = 0;

  constructor(stream: ExpertStream, layers: number, stages: number) {
    this.#layers = layers;
    this.#stages = stages;
    this.#beforeRouterMs = new Float64Array(layers);
    this.#productMs = new Float64Array(layers * stages);
    this.#distinct = new Int32Array(layers);
    this.#misses = new Int32Array(layers);
    this.#managementMs = new Float64Array(layers);
    this.#firstReadyMs = new Float64Array(layers);
    this.#lastReadyMs = new Float64Array(layers);
    const routed = stream.routed.bind(stream);
    const multiply = stream.multiply.bind(stream);
    const multiplied = stream.multiplied.bind(stream);
    stream.routed = (stop) => {
      const start = performance.now();
      this.#routedAt = start;
      this.#layer = stop.layer;
      this.#stage = -1;
      this.#stops++;
      this.#beforeRouterMs[stop.layer] = start - this.#at;
      const goOn = routed(stop);
      this.#distinct[stop.layer] = stream.cache.demandedCount;
      this.#misses[stop.layer] = stream.cache.awaitingCount;
      this.#at = performance.now();
      this.#managementMs[stop.layer] = this.#at - start;
      return goOn;
    };
    stream.multiply = (layer, stage) => {
      const start = performance.now();
      const stopBehind = multiply(layer, stage) || this.everyProduct;
      this.#stage = stage;
      const now = performance.now();
      this.#waitingMs += now - start;
      if (now - start > NOT_WAITING_MS) {
        if (stage === 0) this.#firstReadyMs[layer] = now - this.#routedAt;
        if (stage === this.#stages - 1) this.#lastReadyMs[layer] = now - this.#routedAt;
      }
      // What was computed up to here (nothing, or what the hook asked about) belongs to the product that comes.
      this.#at += now - start;
      return stopBehind;
    };
    stream.multiplied = () => {
      const now = performance.now();
      if (this.#stage >= 0) this.#productMs[this.#layer * this.#stages + this.#stage] = now - this.#at;
      this.#at = now;
      this.#stops++;
      return multiplied();
    };
  }

  /** Runs `compute`, which computes one micro-batch. */
  pass(tokens: number, compute: () => void): PassTimes {
    this.#beforeRouterMs = new Float64Array(this.#layers);
    this.#productMs = new Float64Array(this.#layers * this.#stages);
    this.#distinct = new Int32Array(this.#layers);
    this.#misses = new Int32Array(this.#layers);
    this.#managementMs = new Float64Array(this.#layers);
    this.#firstReadyMs = new Float64Array(this.#layers);
    this.#lastReadyMs = new Float64Array(this.#layers);
    this.#stops = 0;
    this.#waitingMs = 0;
    const start = performance.now();
    this.#at = start;
    compute();
    const end = performance.now();
    const managementMs = this.#managementMs.reduce((sum, ms) => sum + ms, 0);
    return {
      tokens,
      beforeRouterMs: this.#beforeRouterMs,
      productMs: this.#productMs,
      afterMs: end - this.#at,
      distinct: this.#distinct,
      misses: this.#misses,
      managementMs: this.#managementMs,
      firstReadyMs: this.#firstReadyMs,
      lastReadyMs: this.#lastReadyMs,
      stops: this.#stops,
      computeMs: end - start - managementMs - this.#waitingMs,
      wallMs: end - start,
    };
  }
}
