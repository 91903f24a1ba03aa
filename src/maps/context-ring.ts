/**
 * What the model's thread tells the search, in order: an iteration's embedding, the distributions of layers, whole maps to
 * store. Everything is copied into a bounded ring of shared memory; what does not fit is the producer's to count.
 */
import { type MapShape, mapLength } from "./map-shape.ts";
import { SharedRing } from "./shared-ring.ts";

export type ContextKind = "semantic" | "trajectory" | "update";

const KINDS: readonly ContextKind[] = ["semantic", "trajectory", "update"];

export interface SearchContext {
  kind: ContextKind;
  iteration: number;
  tokenId: number;
  /** Layers that `rows` has: all of a map for an update, none for a semantic search. */
  firstLayer: number;
  endLayer: number;
  /** `[hiddenSize]` */
  embedding: Float32Array | undefined;
  /** `[layers][experts]`; only the layers named are set. */
  rows: Float32Array;
  /** The host's clock when it was published. */
  publishedMs: number;
}

export interface SharedContexts {
  readonly ring: SharedArrayBuffer;
  readonly fields: SharedArrayBuffer;
  readonly values: SharedArrayBuffer;
}

/** Per slot. */
const FIELD = {
  kind: 0,
  iteration: 1,
  tokenId: 2,
  firstLayer: 3,
  endLayer: 4,
  hasEmbedding: 5,
  publishedMs: 6,
  words: 7,
};

export class ContextRing {
  readonly shared: SharedContexts;
  readonly #shape: MapShape;
  readonly #ring: SharedRing;
  readonly #fields: Float64Array;
  readonly #embeddings: readonly Float32Array[];
  readonly #rows: readonly Float32Array[];
  readonly #context: SearchContext;

  constructor(shape: MapShape, slots: number, shared?: SharedContexts) {
    const width = shape.hiddenSize + mapLength(shape);
    this.shared = shared ?? {
      ring: new SharedRing(slots).memory,
      fields: new SharedArrayBuffer(slots * FIELD.words * 8),
      values: new SharedArrayBuffer(slots * width * 4),
    };
    this.#shape = shape;
    this.#ring = new SharedRing(slots, this.shared.ring);
    this.#fields = new Float64Array(this.shared.fields);
    const values = new Float32Array(this.shared.values);
    const bySlot = (from: number, to: number) =>
      Array.from({ length: slots }, (_, slot) => values.subarray(slot * width + from, slot * width + to));
    this.#embeddings = bySlot(0, shape.hiddenSize);
    this.#rows = bySlot(shape.hiddenSize, width);
    this.#context = {
      kind: "semantic",
      iteration: 0,
      tokenId: 0,
      firstLayer: 0,
      endLayer: 0,
      embedding: undefined,
      rows: new Float32Array(0),
      publishedMs: 0,
    };
  }

  /** Copies a context; false when the ring is full. Layers are those of `rows`, `[layers][experts]`. */
  push(context: SearchContext): boolean {
    const slot = this.#ring.free();
    if (slot < 0) return false;
    const { firstLayer, endLayer, embedding, rows } = context;
    const { experts } = this.#shape;
    const at = slot * FIELD.words;
    const fields = this.#fields;
    fields[at + FIELD.kind] = KINDS.indexOf(context.kind);
    fields[at + FIELD.iteration] = context.iteration;
    fields[at + FIELD.tokenId] = context.tokenId;
    fields[at + FIELD.firstLayer] = firstLayer;
    fields[at + FIELD.endLayer] = endLayer;
    fields[at + FIELD.hasEmbedding] = embedding === undefined ? 0 : 1;
    fields[at + FIELD.publishedMs] = context.publishedMs;
    if (embedding !== undefined) copy(embedding, this.#embeddings[slot], 0, this.#shape.hiddenSize);
    copy(rows, this.#rows[slot], firstLayer * experts, endLayer * experts);
    this.#ring.publish();
    return true;
  }

  /** The oldest context, valid until `pop`. */
  first(): SearchContext | undefined {
    const slot = this.#ring.first();
    if (slot < 0) return undefined;
    const at = slot * FIELD.words;
    const fields = this.#fields;
    const context = this.#context;
    context.kind = KINDS[fields[at + FIELD.kind]];
    context.iteration = fields[at + FIELD.iteration];
    context.tokenId = fields[at + FIELD.tokenId];
    context.firstLayer = fields[at + FIELD.firstLayer];
    context.endLayer = fields[at + FIELD.endLayer];
    context.embedding = fields[at + FIELD.hasEmbedding] === 1 ? this.#embeddings[slot] : undefined;
    context.rows = this.#rows[slot];
    context.publishedMs = fields[at + FIELD.publishedMs];
    return context;
  }

  pop(): void {
    this.#ring.release();
  }
}

/** A loop: `subarray` and `set` would allocate a view for each call, and this runs inside the graph's evaluation. */
function copy(source: Float32Array, target: Float32Array, from: number, to: number): void {
  for (let i = from; i < to; i++) target[i] = source[i];
}
