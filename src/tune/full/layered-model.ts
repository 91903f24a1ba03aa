/**
 * A frozen model with trainable gates, run layer by layer on one thread: losses forward, gradients of the gates backward.
 * Kept from the forward pass are each layer's input and its residual stream behind attention; all else is computed again.
 * Optimiser, data and threads are elsewhere.
 *
 * The residual stream behind attention is kept beside the layer's input because it costs hidden x 4 bytes a token and
 * layer, and saves the whole attention block from being computed a third time.
 */
import type { EmbeddingSource } from "../../cache/embedding-source.ts";
import type { GgufFile } from "../../gguf/index.ts";
import { openEmbeddingTable } from "../../llama/embedding-table.ts";
import { FrozenWeights } from "../../llama/frozen-weights.ts";
import type { Libraries } from "../../llama/index.ts";
import { type NativeFloats, type NativeInts, nativeFloats, nativeInts } from "../../llama/native-arrays.ts";
import { TensorMath } from "../../llama/tensor-math.ts";
import { AttentionGraph, attentionBytes, type Span } from "./attention.ts";
import { addRouting, type BatchLosses, noLosses } from "./batch-losses.ts";
import { ExpertSlots } from "./expert-slots.ts";
import { Experts } from "./experts.ts";
import { LanguageHead, type TaskWeights } from "./language-head.ts";
import type { OriginalStates } from "./original-states.ts";
import { addRouterGradient, type Routing, route } from "./router.ts";
import type { RouterTerms, TermStrengths } from "./router-terms.ts";
import type { TrainingSequence } from "./sequence.ts";
import type { LayerTensors, Wiring } from "./wiring.ts";

export interface LayeredModelOptions {
  /** Most tokens of one batch. */
  readonly batchTokens: number;
  /** Most tokens of one sequence. */
  readonly sequenceTokens: number;
  /** Bytes of expert weights, as stored, that are in memory at once; one expert is, however large. @default 64 MiB */
  readonly weightBytes?: number;
  /** Whether the predictions of the model with its original gates will be asked for. @default false */
  readonly withOriginal?: boolean;
}

/** Gates by layer, `[experts][hidden]` each. */
export type Gates = readonly Float32Array[];

export interface GradientRequest {
  readonly task: TaskWeights;
  /** Targets of the whole step, of which this batch may be a part: gradients are of means over them. */
  readonly stepTargets: number;
  /** Tokens of the whole step, for the means of routers' own terms. */
  readonly stepTokens: number;
  /** @default no terms of the routers' own */
  readonly terms?: RouterTerms | undefined;
  /** What the original model made of sequences before. @default it is computed each time */
  readonly originals?: OriginalStates | undefined;
  readonly strengths: TermStrengths;
  /** Whether routers' own terms also move the gates of earlier layers. */
  readonly couple: boolean;
  /** Choices to keep, by layer; for checking gradients. @default what the gates choose */
  readonly ids?: readonly Int32Array[] | undefined;
}

/** Sequences whose attention is one graph: a graph has room for 2,048 nodes, and each takes some 70. */
const SEQUENCES_AT_ONCE = 16;
const DEFAULT_WEIGHT_BYTES = 2 ** 26;

interface Batch {
  readonly tokens: number;
  readonly spans: readonly Span[];
  readonly sequences: readonly TrainingSequence[];
}

export class LayeredModel implements Disposable {
  readonly wiring: Wiring;
  readonly #math: TensorMath;
  readonly #weights: FrozenWeights;
  readonly #embedding: EmbeddingSource;
  readonly #experts: Experts;
  readonly #head: LanguageHead;
  readonly #slots: ExpertSlots;
  readonly #originalGates: Gates;
  readonly #options: Required<LayeredModelOptions>;
  /** By layer, and behind the last one; `[tokens][hidden]`. */
  readonly #inputs: readonly NativeFloats[];
  readonly #middles: readonly NativeFloats[];
  readonly #original: NativeFloats;
  readonly #normed: NativeFloats;
  readonly #gradient: NativeFloats;
  readonly #inner: NativeFloats;
  readonly #gate: NativeFloats;
  readonly #gateGradient: NativeFloats;
  readonly #logits: NativeFloats;
  readonly #referenceLogits: NativeFloats;
  readonly #sharedScores: NativeFloats;
  readonly #positions: NativeInts;
  readonly #mask: NativeFloats;
  #maskTokens = 0;
  readonly #owned: Disposable[] = [];

  /** @throws the system's error if the model's files cannot be opened */
  constructor(libraries: Libraries, gguf: GgufFile, wiring: Wiring, options: LayeredModelOptions) {
    const { hidden, router, layers } = wiring;
    const { batchTokens, sequenceTokens } = options;
    this.wiring = wiring;
    this.#options = { weightBytes: DEFAULT_WEIGHT_BYTES, withOriginal: false, ...options };
    const own = <T extends Disposable>(thing: T): T => {
      this.#owned.push(thing);
      return thing;
    };
    const floats = (count: number) => own(nativeFloats(count));
    // More than one thread only where ggml need not share the processor: its threads spin at every barrier.
    this.#math = own(new TensorMath(libraries, { threads: 1 }));
    this.#weights = own(new FrozenWeights(gguf));
    const embedding = openEmbeddingTable(libraries, gguf);
    if (embedding === undefined) throw new RangeError(`${wiring.embedding.name} cannot be read as float32`);
    this.#embedding = own(embedding);
    this.#originalGates = layers.map((layer) => this.#weights.floats(layer.router));
    const states = batchTokens * hidden;
    this.#inputs = Array.from({ length: layers.length + 1 }, () => floats(states));
    this.#middles = layers.map(() => floats(states));
    this.#original = floats(this.#options.withOriginal ? states : 0);
    this.#normed = floats(states);
    this.#gradient = floats(states);
    this.#inner = floats(states);
    this.#gate = floats(router.experts * hidden);
    this.#gateGradient = floats(router.experts * hidden);
    this.#logits = floats(batchTokens * router.experts);
    this.#referenceLogits = floats(batchTokens * router.experts);
    this.#sharedScores = floats(batchTokens);
    this.#positions = own(nativeInts(sequenceTokens));
    for (let i = 0; i < sequenceTokens; i++) this.#positions.values[i] = i;
    this.#mask = floats(sequenceTokens * sequenceTokens);
    this.#slots = own(new ExpertSlots(batchTokens * router.used));
    const { weightBytes, withOriginal } = this.#options;
    this.#experts = own(new Experts(this.#math, this.#weights, { hidden, tokens: batchTokens, weightBytes }));
    this.#head = own(new LanguageHead(this.#math, this.#weights, wiring, batchTokens, withOriginal));
  }

  /** The gates of the file. */
  get originalGates(): Gates {
    return this.#originalGates;
  }

  /** Losses of a batch, without gradients. @param compared whether to tell the divergence from the original model, too */
  evaluate(sequences: readonly TrainingSequence[], gates: Gates, compared = this.#options.withOriginal): BatchLosses {
    const batch = this.#batch(sequences);
    if (compared) this.#findOriginal(batch);
    const routings = this.#forward(batch, gates);
    const losses = noLosses();
    addRouting(losses, batch.spans, routings, this.wiring.router);
    this.#addTaskLosses(losses, batch, compared);
    return losses;
  }

  /** `[tokens][vocabulary]` of a small batch, and each layer's choices. */
  logits(sequences: readonly TrainingSequence[], gates: Gates): { logits: Float32Array; ids: Int32Array[] } {
    const batch = this.#batch(sequences);
    const routings = this.#forward(batch, gates);
    return { logits: this.#head.logits(this.#headInput(batch, false)), ids: routings.map(({ ids }) => ids) };
  }

  /**
   * Losses of a batch, and their gradients added to `gradients`.
   * @param gradients by layer, `[experts][hidden]`
   */
  gradients(
    sequences: readonly TrainingSequence[],
    gates: Gates,
    request: GradientRequest,
    gradients: readonly Float32Array[],
  ): BatchLosses {
    const { task, terms, couple } = request;
    const batch = this.#batch(sequences);
    const distilled = task.distillation !== 0;
    if (distilled) this.#findOriginal(batch, request.originals);
    const routings = this.#forward(batch, gates, request.ids);
    const losses = noLosses();
    addRouting(losses, batch.spans, routings, this.wiring.router);
    const trained = task.crossEntropy !== 0 || distilled;
    this.#addTaskLosses(losses, batch, distilled, trained ? request : undefined);
    if (!trained) this.#gradient.values.fill(0, 0, batch.tokens * this.wiring.hidden);
    const chained = trained || (couple && terms !== undefined);
    for (let layer = routings.length - 1; layer >= 0; layer--) {
      this.#backward(layer, batch, gates[layer], routings[layer], request, chained, gradients[layer], losses);
    }
    return losses;
  }

  [Symbol.dispose](): void {
    for (const thing of this.#owned.splice(0).reverse()) thing[Symbol.dispose]();
  }

  #batch(sequences: readonly TrainingSequence[]): Batch {
    const spans: Span[] = [];
    let tokens = 0;
    for (const sequence of sequences) {
      spans.push({ from: tokens, tokens: sequence.tokens.length });
      tokens += sequence.tokens.length;
      if (sequence.tokens.length > this.#options.sequenceTokens || sequence.tokens.length === 0)
        throw new RangeError(
          `A sequence has 1 to ${this.#options.sequenceTokens} tokens, not ${sequence.tokens.length}`,
        );
    }
    if (tokens > this.#options.batchTokens)
      throw new RangeError(`A batch has at most ${this.#options.batchTokens} tokens, not ${tokens}`);
    return { tokens, spans, sequences };
  }

  /**
   * Puts the original model's last states of a batch into `#original`. What will be kept is computed sequence by sequence:
   * sums depend in their last bits on what else is in a batch, and a resumed run meets a sequence in other company.
   */
  #findOriginal({ sequences, spans }: Batch, originals?: OriginalStates): void {
    const { hidden, layers } = this.wiring;
    const rowsOf = ({ values }: NativeFloats, { from, tokens }: Span) =>
      values.subarray(from * hidden, (from + tokens) * hidden);
    const compute = (which: readonly number[]): Float32Array[] => {
      const batch = this.#batch(which.map((i) => sequences[i]));
      this.#forward(batch, this.#originalGates);
      return which.map((i, own) => {
        const rows = rowsOf(this.#inputs[layers.length], batch.spans[own]);
        rowsOf(this.#original, spans[i]).set(rows);
        return rows;
      });
    };
    const passing: number[] = [];
    for (const [i, { place }] of sequences.entries()) {
      if (place === undefined || !originals?.holds(place)) passing.push(i);
      else if (!originals.read(place, rowsOf(this.#original, spans[i]))) originals.keep(place, compute([i])[0]);
    }
    if (passing.length > 0) compute(passing);
  }

  #forward(batch: Batch, gates: Gates, ids?: readonly Int32Array[]): Routing[] {
    const { hidden, layers } = this.wiring;
    batch.sequences.forEach(({ tokens }, i) => {
      const { from, tokens: count } = batch.spans[i];
      this.#embedding.rows(tokens, this.#inputs[0].values.subarray(from * hidden, (from + count) * hidden));
    });
    return layers.map((layer, index) => {
      const input = this.#inputs[index];
      const middle = this.#middles[index];
      const output = this.#inputs[index + 1].values;
      this.#attention(layer, batch, (attention, span) => {
        attention.forward(span, at(input, span.from * hidden), at(middle, span.from * hidden));
      });
      this.#routerInputs(layer, middle, batch.tokens, gates[index], undefined);
      const logits = this.#logits.values.subarray(0, batch.tokens * this.wiring.router.experts);
      const routing = route(logits, batch.tokens, this.wiring.router, ids?.[index]);
      output.set(middle.values.subarray(0, batch.tokens * hidden));
      this.#slots.sort(routing, this.wiring.router.experts, this.wiring.router.used);
      this.#experts.forward(layer.experts, this.#slots, batch.tokens, this.#normed.address, output);
      if (layer.shared !== undefined) {
        this.#slots.all(this.#sharedWeights(batch.tokens));
        this.#experts.forward(layer.shared, this.#slots, batch.tokens, this.#normed.address, output);
      }
      return routing;
    });
  }

  #backward(
    index: number,
    batch: Batch,
    gate: Float32Array,
    routing: Routing,
    request: GradientRequest,
    chained: boolean,
    gateGradient: Float32Array,
    losses: BatchLosses,
  ): void {
    const { hidden, layers, router } = this.wiring;
    const { tokens } = batch;
    const layer = layers[index];
    const deeper = chained && index > 0;
    const reference = request.terms === undefined ? undefined : this.#originalGates[index];
    this.#routerInputs(layer, this.#middles[index], tokens, gate, reference);
    const inner = this.#inner.values.fill(0, 0, tokens * hidden);
    const dLogits = new Float32Array(tokens * router.experts);
    if (chained) {
      const places = { input: this.#normed.address, gradient: this.#gradient.address };
      const dInput = deeper ? inner : undefined;
      const dWeights = new Float32Array(tokens * router.used);
      this.#slots.sort(routing, router.experts, router.used);
      this.#experts.backward(layer.experts, this.#slots, tokens, places, dWeights, dInput);
      addRouterGradient(routing, dWeights, router, dLogits);
      if (deeper && layer.shared !== undefined) this.#sharedBackward(layer, tokens, inner);
    }
    const own = request.terms && this.#ownTerms(index, batch, routing, request, losses);
    this.#routerBackward(dLogits, own, request.couple, deeper, tokens, gate);
    const added = this.#gateGradient.values;
    for (let i = 0; i < gateGradient.length; i++) gateGradient[i] += added[i];
    if (!deeper) return;
    this.#attention(layer, batch, (attention, { from, tokens }) => {
      const row = from * hidden;
      attention.backward(
        { from, tokens },
        {
          x: at(this.#inputs[index], row),
          mid: at(this.#middles[index], row),
          gradient: at(this.#gradient, row),
          inner: at(this.#inner, row),
        },
      );
    });
  }

  #attention(layer: LayerTensors, batch: Batch, each: (attention: AttentionGraph, span: Span) => void): void {
    const causalMask = (tokens: number) => this.#causalMask(tokens);
    // A mask serves one length at a time, so that sequences of one length share a graph.
    const byLength = [...batch.spans].sort((a, b) => a.tokens - b.tokens);
    for (let first = 0; first < byLength.length; ) {
      const { tokens } = byLength[first];
      const same = byLength.slice(first, first + SEQUENCES_AT_ONCE).filter((span) => span.tokens === tokens);
      this.#weights.begin(attentionBytes(this.#weights, layer));
      this.#math.compute((graph) => {
        const inputs = { positions: this.#positions.address, causalMask };
        const attention = new AttentionGraph(graph, this.#weights, this.wiring, layer, inputs);
        for (const span of same) each(attention, span);
      });
      first += same.length;
    }
  }

  /** Computes what router and experts see, the router's logits, and those of the original gate where one is given. */
  #routerInputs(
    layer: LayerTensors,
    middle: NativeFloats,
    tokens: number,
    gate: Float32Array,
    reference: Float32Array | undefined,
  ): void {
    const { hidden, epsilon, router } = this.wiring;
    this.#gate.values.set(gate);
    if (reference !== undefined) this.#gateGradient.values.set(reference);
    this.#math.compute((graph) => {
      const rows = graph.input(middle.address, [hidden, tokens]);
      const norm = this.#weights.vector(graph, layer.feedForwardNorm);
      const normed = graph.into(this.#normed.address, graph.multiply(graph.rmsNorm(rows, epsilon), norm));
      const product = (matrix: NativeFloats) =>
        graph.product(graph.input(matrix.address, [hidden, router.experts]), normed);
      graph.into(this.#logits.address, product(this.#gate));
      if (reference !== undefined) graph.into(this.#referenceLogits.address, product(this.#gateGradient));
      if (layer.shared === undefined) return;
      const scores = graph.reshaped(this.#weights.vector(graph, layer.shared.router), [hidden, 1]);
      graph.into(this.#sharedScores.address, graph.product(scores, normed));
    });
  }

  #sharedWeights(tokens: number): Float32Array {
    return Float32Array.from(this.#sharedScores.values.subarray(0, tokens), (score) => 1 / (1 + Math.exp(-score)));
  }

  #sharedBackward(layer: LayerTensors, tokens: number, inner: Float32Array): void {
    if (layer.shared === undefined) return;
    const { hidden } = this.wiring;
    const weights = this.#sharedWeights(tokens);
    const dWeights = new Float32Array(tokens);
    const places = { input: this.#normed.address, gradient: this.#gradient.address };
    this.#slots.all(weights);
    this.#experts.backward(layer.shared, this.#slots, tokens, places, dWeights, inner);
    const vector = this.#weights.floats(layer.shared.router);
    for (let t = 0; t < tokens; t++) {
      const dScore = dWeights[t] * weights[t] * (1 - weights[t]);
      for (let j = 0; j < hidden; j++) inner[t * hidden + j] += dScore * vector[j];
    }
  }

  /** The gradient of the routers' own terms, of which the mean over the step's tokens and over layers is meant. */
  #ownTerms(
    layer: number,
    batch: Batch,
    routing: Routing,
    { terms, stepTokens, strengths }: GradientRequest,
    losses: BatchLosses,
  ): Float32Array {
    const { experts, used } = this.wiring.router;
    const all = new Float32Array(batch.tokens * experts);
    if (terms === undefined) return all;
    const layers = this.wiring.layers.length;
    batch.spans.forEach(({ from, tokens }, i) => {
      const rows = (values: Float32Array) => values.slice(from * experts, (from + tokens) * experts);
      const result = terms({
        layer,
        logits: rows(this.#logits.values),
        referenceLogits: rows(this.#referenceLogits.values),
        ids: routing.ids.slice(from * used, (from + tokens) * used),
        tokens,
        experts,
        used,
        documents: new Int32Array(tokens),
        promptTokens: batch.sequences[i].promptTokens ?? 0,
        strengths,
      });
      const share = tokens / stepTokens / layers;
      for (let j = 0; j < result.dz.length; j++) all[from * experts + j] = result.dz[j] * share;
      for (const [name, loss] of Object.entries(result.losses))
        losses.terms[name] = (losses.terms[name] ?? 0) + loss * tokens;
    });
    return all;
  }

  /** The gate's gradient, and what the router passes on to its input, added to the experts' part. */
  #routerBackward(
    dLogits: Float32Array,
    own: Float32Array | undefined,
    couple: boolean,
    deeper: boolean,
    tokens: number,
    gate: Float32Array,
  ): void {
    const { hidden, router } = this.wiring;
    const passed = this.#referenceLogits.values;
    const whole = this.#logits.values;
    for (let i = 0; i < dLogits.length; i++) {
      whole[i] = dLogits[i] + (own?.[i] ?? 0);
      passed[i] = couple ? whole[i] : dLogits[i];
    }
    this.#gate.values.set(gate);
    this.#math.compute((graph) => {
      const normed = graph.input(this.#normed.address, [hidden, tokens]);
      const scores = [router.experts, tokens];
      graph.into(this.#gateGradient.address, graph.outerProduct(normed, graph.input(this.#logits.address, scores)));
      if (!deeper) return;
      const matrix = graph.transposed(graph.input(this.#gate.address, [hidden, router.experts]));
      const part = graph.product(matrix, graph.input(this.#referenceLogits.address, scores));
      const inner = graph.input(this.#inner.address, [hidden, tokens]);
      graph.into(this.#inner.address, graph.add(inner, part));
    });
  }

  #addTaskLosses(losses: BatchLosses, batch: Batch, compared: boolean, request?: GradientRequest): void {
    const input = this.#headInput(batch, compared);
    const gradient = request && {
      address: this.#gradient.address,
      factor: 1 / request.stepTargets,
      weights: request.task,
    };
    const { crossEntropy, divergence } = this.#head.losses(input, gradient);
    losses.crossEntropy += crossEntropy;
    losses.divergence += divergence;
    losses.targets += batch.tokens - batch.spans.length;
  }

  #headInput(batch: Batch, compared: boolean) {
    const next = new Int32Array(batch.tokens).fill(-1);
    batch.sequences.forEach(({ tokens }, i) => {
      next.set(tokens.subarray(1), batch.spans[i].from);
    });
    return {
      tokens: batch.tokens,
      state: this.#inputs[this.wiring.layers.length].address,
      originalState: compared ? this.#original.address : undefined,
      next,
    };
  }

  #causalMask(tokens: number): number {
    if (this.#maskTokens !== tokens) {
      const { values } = this.#mask;
      for (let query = 0; query < tokens; query++)
        for (let key = 0; key < tokens; key++)
          values[query * tokens + key] = key <= query ? 0 : Number.NEGATIVE_INFINITY;
      this.#maskTokens = tokens;
    }
    return this.#mask.address;
  }
}

function at({ address }: NativeFloats, element: number): number {
  return address + element * 4;
}
