/** Forecasts on their way from the search to the policy, in a bounded ring of shared memory that was allocated at once. */
import type { ForecastKind, MapForecast } from "./async-search.ts";
import { SharedRing } from "./shared-ring.ts";

export interface ForecastRingShape {
  readonly slots: number;
  readonly neighbours: number;
  /** Target layers of a forecast at most. */
  readonly targets: number;
  readonly experts: number;
}

export interface SharedForecasts {
  readonly ring: SharedArrayBuffer;
  readonly fields: SharedArrayBuffer;
  readonly rows: SharedArrayBuffer;
  readonly scores: SharedArrayBuffer;
  readonly probabilities: SharedArrayBuffer;
}

/** A forecast as the search fills it in. */
export type MutableForecast = { -readonly [K in keyof MapForecast]: MapForecast[K] } & {
  /** The host's clock from which on it may be taken. */
  readyAtMs: number;
};

const KINDS: readonly ForecastKind[] = ["semantic", "trajectory"];

const FIELD = { kind: 0, iteration: 1, sourceLayer: 2, firstTarget: 3, targets: 4, matches: 5, readyAtMs: 6, words: 7 };

export class ForecastRing {
  readonly shape: ForecastRingShape;
  readonly shared: SharedForecasts;
  readonly #ring: SharedRing;
  readonly #fields: Float64Array;
  /** One per slot; its numbers are copied to and from the shared fields. */
  readonly #forecasts: readonly MutableForecast[];

  constructor(shape: ForecastRingShape, shared?: SharedForecasts) {
    const { slots, neighbours, targets, experts } = shape;
    const width = neighbours * targets * experts;
    this.shape = shape;
    this.shared = shared ?? {
      ring: new SharedRing(slots).memory,
      fields: new SharedArrayBuffer(slots * FIELD.words * 8),
      rows: new SharedArrayBuffer(slots * neighbours * 4),
      scores: new SharedArrayBuffer(slots * neighbours * 4),
      probabilities: new SharedArrayBuffer(slots * width * 4),
    };
    this.#ring = new SharedRing(slots, this.shared.ring);
    this.#fields = new Float64Array(this.shared.fields);
    this.#forecasts = Array.from({ length: slots }, (_, slot) => ({
      kind: "semantic",
      iteration: 0,
      sourceLayer: 0,
      firstTarget: 0,
      targets: 0,
      experts,
      matches: 0,
      rows: new Int32Array(this.shared.rows, slot * neighbours * 4, neighbours),
      scores: new Float32Array(this.shared.scores, slot * neighbours * 4, neighbours),
      probabilities: new Float32Array(this.shared.probabilities, slot * width * 4, width),
      readyAtMs: 0,
    }));
  }

  /** The forecast to fill in, or undefined when none was taken for too long. For the search. */
  free(): MutableForecast | undefined {
    const slot = this.#ring.free();
    return slot < 0 ? undefined : this.#forecasts[slot];
  }

  /** The forecast that `free` gave is complete. */
  publish(): void {
    const slot = this.#ring.free();
    const forecast = this.#forecasts[slot];
    const at = slot * FIELD.words;
    const fields = this.#fields;
    fields[at + FIELD.kind] = KINDS.indexOf(forecast.kind);
    fields[at + FIELD.iteration] = forecast.iteration;
    fields[at + FIELD.sourceLayer] = forecast.sourceLayer;
    fields[at + FIELD.firstTarget] = forecast.firstTarget;
    fields[at + FIELD.targets] = forecast.targets;
    fields[at + FIELD.matches] = forecast.matches;
    fields[at + FIELD.readyAtMs] = forecast.readyAtMs;
    this.#ring.publish();
  }

  /** The oldest forecast, valid until `pop`. For the policy's side. */
  first(): MutableForecast | undefined {
    const slot = this.#ring.first();
    if (slot < 0) return undefined;
    const forecast = this.#forecasts[slot];
    const at = slot * FIELD.words;
    const fields = this.#fields;
    forecast.kind = KINDS[fields[at + FIELD.kind]];
    forecast.iteration = fields[at + FIELD.iteration];
    forecast.sourceLayer = fields[at + FIELD.sourceLayer];
    forecast.firstTarget = fields[at + FIELD.firstTarget];
    forecast.targets = fields[at + FIELD.targets];
    forecast.matches = fields[at + FIELD.matches];
    forecast.readyAtMs = fields[at + FIELD.readyAtMs];
    return forecast;
  }

  pop(): void {
    this.#ring.release();
  }
}
