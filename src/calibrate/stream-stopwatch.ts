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
  /** Inside router stops, all layers. */
  readonly managementMs: number;
  /** Stops of the graph. */
  readonly stops: number;
  /** All of the pass but waiting and management. */
  readonly computeMs: number;
  readonly wallMs: number;
}

export class StreamStopwatch {
  /** Stop the graph after every product. Only then are the times of products known. */
  everyProduct = false;
  readonly #stream: ExpertStream;
  readonly #layers: number;
  readonly #stages: number;
  #beforeRouterMs: Float64Array;
  #productMs: Float64Array;
  #distinct: Int32Array;
  #stops = 0;
  #managementMs = 0;
  #waitingMs = 0;
  #layer = 0;
  #stage = 0;
  /** End of what was measured last. */
  #at = 0;

  constructor(stream: ExpertStream, layers: number, stages: number) {
    this.#stream = stream;
    this.#layers = layers;
    this.#stages = stages;
    this.#beforeRouterMs = new Float64Array(layers);
    this.#productMs = new Float64Array(layers * stages);
    this.#distinct = new Int32Array(layers);
    const routed = stream.routed.bind(stream);
    const multiply = stream.multiply.bind(stream);
    const multiplied = stream.multiplied.bind(stream);
    stream.routed = (stop) => {
      const start = performance.now();
      this.#layer = stop.layer;
      this.#stage = -1;
      this.#stops++;
      this.#beforeRouterMs[stop.layer] = start - this.#at;
      const goOn = routed(stop);
      this.#distinct[stop.layer] = stream.cache.demandedCount;
      this.#at = performance.now();
      this.#managementMs += this.#at - start;
      return goOn;
    };
    stream.multiply = (layer, stage) => {
      const start = performance.now();
      const stopBehind = multiply(layer, stage) || this.everyProduct;
      this.#stage = stage;
      const now = performance.now();
      this.#waitingMs += now - start;
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
    this.#stops = 0;
    this.#managementMs = 0;
    this.#waitingMs = 0;
    const stallBefore = this.#stream.times.stallMs;
    const start = performance.now();
    this.#at = start;
    compute();
    const end = performance.now();
    const stallMs = this.#stream.times.stallMs - stallBefore;
    return {
      tokens,
      beforeRouterMs: this.#beforeRouterMs,
      productMs: this.#productMs,
      afterMs: end - this.#at,
      distinct: this.#distinct,
      // Handing over reads inside a product's question is not waiting.
      managementMs: this.#managementMs + this.#waitingMs - stallMs,
      stops: this.#stops,
      computeMs: end - start - this.#managementMs - this.#waitingMs,
      wallMs: end - start,
    };
  }
}
