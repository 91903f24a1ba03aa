/**
 * Watches a graph while llama.cpp's scheduler runs it: stops after each layer's router, and reports each matrix
 * product with expert weights just before it can run. It turns native nodes into plain numbers and decides nothing;
 * what is done at a stop is the listener's business.
 *
 * ggml asks the callback about every node in order (ggml-backend.cpp:1800). `true` ends the group of nodes computed
 * together at that node, and the callback comes again once it is computed. While it is asked about a node, nothing of
 * that node's group has run, which is what makes waiting inside the question safe.
 */
import koffi from "koffi";
import { NativeWords } from "./native-words.ts";
import { GgmlType, TENSOR_OFFSET } from "./structs.ts";

/** "logits" are compared as they are, and the softmax is taken over the chosen ones only. */
export type Scoring = "softmax" | "sigmoid" | "root of softplus" | "logits";

/** A router's decision. The object is reused; `expert(token, rank)` reads the graph's memory, valid during the call. */
export interface RouterStop {
  /** Index into the MoE layers. */
  readonly layer: number;
  /** 0 in the last layers of a micro-batch of which no token wants logits. */
  readonly tokens: number;
  /** Experts that a token uses in this layer; some models use more in some layers. */
  readonly expertsUsed: number;
  /** Rank 0 is the best. */
  expert(token: number, rank: number): number;
  /** Replaces a chosen expert before the graph goes on. */
  setExpert(token: number, rank: number, expert: number): void;
  readonly hasProbabilities: boolean;
  /**
   * The router's distribution over all experts, `[tokens][experts]`, rows sum to 1. Where the graph takes a softmax it is
   * that; sigmoid scores are normalised; routers that choose by raw logits (gpt-oss) get the softmax taken here.
   */
  readProbabilities(into: Float32Array): void;
  /**
   * What the router compared to choose, `[tokens][experts]`: with the model's selection bias, and -Infinity for experts of
   * groups that were left out. False where that cannot be seen, as when a table chooses; a recorded stop has none.
   */
  readSelectionScores?(into: Float32Array): boolean;
  /** What the graph makes of the router's raw output before it chooses; undefined where that cannot be seen. */
  readonly scoring?: Scoring | undefined;
  /** The router's input can be seen in the graph, as floats without gaps. */
  readonly hasInput: boolean;
  /** The router's input, `[tokens][inputWidth]`. */
  readInput(into: Float32Array): void;
  /** Address of the router's input; 0 when it cannot be seen, or is not in memory. */
  readonly inputAddress: number;
  readonly inputWidth: number;
  /** Address of the tensor struct of the router's weights; 0 as above. */
  readonly routerWeights: number;
  /** Address of the norm weights that the input was multiplied with; 0 when it was not. */
  readonly inputNormWeights: number;
}

export interface GraphListener {
  /** A router has decided. False abandons the graph. Must not throw. */
  routed(stop: RouterStop): boolean;
  /**
   * A product with the expert weights of (layer, stage) comes next; returns once they are in memory. The answer says
   * whether to stop after it, so that the listener is asked about the following product only then and can wait for
   * its weights while nothing depends on them yet.
   */
  multiply(layer: number, stage: number): boolean;
  /** The group that ended after a `multiply` that answered true is computed. False abandons the graph. */
  multiplied(layer: number): boolean;
}

/** A tensor with one matrix of all experts of a layer. */
export interface ExpertTensor {
  readonly layer: number;
  readonly stage: number;
  /**
   * Where the tensor's data lies now and how far apart its experts are; the tensor is told when it is first seen. Products
   * by expert go by `nb[2]` alone (ggml-cpu.c, ggml_compute_forward_mul_mat_id), and nothing else reads expert weights.
   */
  readonly moved?: { readonly address: number; readonly expertStrideBytes: number };
}

export interface GraphHookOptions {
  /** MoE layer index by block number, -1 for dense blocks. */
  readonly layerOfBlock: Int32Array;
  /** By the address of a weight tensor's data, as llama.cpp mapped it and as it lies now. */
  readonly stageOfAddress: ReadonlyMap<number, ExpertTensor>;
  /** Experts of a layer. */
  readonly experts: number;
  /** Numbers of these operations in this build, from `ggml_op_name`. */
  readonly opMulMatId: number;
  readonly opMulMat: number;
  readonly opMul: number;
  readonly opSoftMax: number;
  readonly opUnary: number;
  readonly opSqrt: number;
  readonly opArgsort: number;
}

/** The router of a layer with experts never showed up, or not under the name llama.cpp gives it. */
export class RouterNotSeenError extends Error {
  override readonly name = "RouterNotSeenError";
  readonly layer: number;

  constructor(layer: number) {
    super(
      `MoE layer ${layer} multiplied with its experts, but its router's choice (ffn_moe_topk) was not seen before. ` +
        "This architecture cannot be streamed; run it with --memory all.",
    );
    this.layer = layer;
  }
}

const PREFIX = word("ffn_");
const MOE = word("moe_");
const TOPK = word("topk");
const LOGI = word("logi");
const PROB = word("prob");
const DASH = "-".charCodeAt(0);

export class GraphHook {
  /** To be given as `cb_eval`. */
  readonly pointer: bigint;
  /** The first error thrown by a listener or found in the graph; the graph was abandoned there. */
  error: unknown;
  /** The graph was not computed to its end, by an error or by a listener's wish: its results mean nothing. */
  abandoned = false;
  /** Questions asked since the start: the cost of the hook is about a microsecond each. */
  asks = 0;
  stops = 0;

  readonly #options: GraphHookOptions;
  readonly #listener: GraphListener;
  readonly #words = new NativeWords();
  readonly #stop: MutableStop;
  #stopLayer = -1;
  #routedLayer = -1;
  #multiplyLayer = -1;
  /** The nodes `ffn_moe_logits` and `ffn_moe_probs` since the last stop, 0 when there were none. */
  #logits = 0;
  #probs = 0;
  readonly #registered: unknown;

  constructor(options: GraphHookOptions, listener: GraphListener) {
    this.#options = options;
    this.#listener = listener;
    this.#stop = new MutableStop(this.#words, options);
    const registered = koffi.register(
      (tensor: number, ask: boolean) => (ask ? this.#ask(Number(tensor)) : this.#computed(Number(tensor))),
      "ggml_backend_sched_eval_callback *",
    );
    this.#registered = registered;
    this.pointer = koffi.address(registered) as bigint;
  }

  /** Before a decode: forgets the previous graph. */
  begin(): void {
    this.error = undefined;
    this.abandoned = false;
    this.#stopLayer = -1;
    this.#routedLayer = -1;
    this.#logits = 0;
    this.#probs = 0;
  }

  dispose(): void {
    koffi.unregister(this.#registered as bigint);
  }

  #ask(tensor: number): boolean {
    this.asks++;
    const words = this.#words;
    if (words.i32(tensor + TENSOR_OFFSET.op) === this.#options.opMulMatId) return this.#askProduct(tensor);
    const name = tensor + TENSOR_OFFSET.name;
    if (words.u32(name) !== PREFIX || words.u32(name + 4) !== MOE) return false;
    const kind = words.u32(name + 8);
    if (kind === TOPK) {
      const layer = this.#layerOf(name + 12);
      // grovemoe shows the same choice again for its adjugate experts, without a router product in between.
      if (layer === this.#routedLayer && this.#logits === 0) return false;
      this.#stopLayer = layer;
      return layer >= 0;
    }
    // Views take over the name, with a word behind it: "ffn_moe_probs-0 (reshaped)" has other dimensions.
    if (words.u64(tensor + TENSOR_OFFSET.viewSrc) !== 0) return false;
    if (kind === LOGI && (words.u32(name + 12) & 0xffff) === (word("ts") & 0xffff) && this.#dashAt(name + 14)) {
      this.#logits = tensor;
      this.#probs = 0;
    } else if (kind === PROB && (words.u32(name + 12) & 0xffff) === (word("s-") & 0xffff)) this.#probs = tensor;
    return false;
  }

  #askProduct(tensor: number): boolean {
    const weights = this.#words.u64(tensor + TENSOR_OFFSET.src);
    const address = this.#words.u64(weights + TENSOR_OFFSET.data);
    const place = this.#options.stageOfAddress.get(address);
    if (place === undefined) return false;
    if (place.moved !== undefined && place.moved.address !== address) this.#move(weights, place.moved);
    if (this.error !== undefined || this.abandoned) return false;
    try {
      if (place.layer !== this.#routedLayer) throw new RouterNotSeenError(place.layer);
      this.#multiplyLayer = place.layer;
      return this.#listener.multiply(place.layer, place.stage);
    } catch (error) {
      this.error ??= error;
      return true; // the group still runs, on whatever is in memory; the stop after it abandons the graph
    }
  }

  #move(weights: number, { address, expertStrideBytes }: NonNullable<ExpertTensor["moved"]>): void {
    const words = this.#words;
    const experts = words.u64(weights + TENSOR_OFFSET.ne + 16);
    words.setU64(weights + TENSOR_OFFSET.data, address);
    words.setU64(weights + TENSOR_OFFSET.nb + 16, expertStrideBytes);
    words.setU64(weights + TENSOR_OFFSET.nb + 24, expertStrideBytes * experts);
  }

  #computed(tensor: number): boolean {
    this.stops++;
    const goOn = this.error === undefined && !this.abandoned && this.#tell(tensor);
    if (!goOn) this.abandoned = true;
    return goOn;
  }

  #tell(tensor: number): boolean {
    try {
      if (this.#stopLayer < 0) return this.#listener.multiplied(this.#multiplyLayer);
      const layer = this.#stopLayer;
      this.#stopLayer = -1;
      this.#routedLayer = layer;
      this.#stop.read(tensor, layer, this.#logits, this.#probs);
      this.#logits = 0;
      this.#probs = 0;
      return this.#listener.routed(this.#stop);
    } catch (error) {
      this.error ??= error;
      return false;
    }
  }

  #dashAt(address: number): boolean {
    return ((this.#words.u32(address - (address % 4)) >>> (8 * (address % 4))) & 0xff) === DASH;
  }

  /** MoE layer of a name that goes on with "-<block>" at `address` (4-byte aligned); -1 when it does not. */
  #layerOf(address: number): number {
    const text = this.#words;
    let block = 0;
    let digits = 0;
    for (let i = 0; i < 6; i++) {
      const at = address + i;
      const byte = (text.u32(at - (at % 4)) >>> (8 * (at % 4))) & 0xff;
      if (i === 0) {
        if (byte !== DASH) return -1;
        continue;
      }
      if (byte === 0 && digits > 0) break;
      if (byte < 48 || byte > 57) return -1;
      block = block * 10 + byte - 48;
      digits++;
    }
    if (digits === 0 || block >= this.#options.layerOfBlock.length) return -1;
    return this.#options.layerOfBlock[block];
  }
}

class MutableStop implements RouterStop {
  layer = 0;
  tokens = 0;
  expertsUsed = 0;
  hasProbabilities = false;
  scoring: Scoring | undefined;
  hasInput = false;
  inputAddress = 0;
  inputWidth = 0;
  routerWeights = 0;
  inputNormWeights = 0;
  readonly #words: NativeWords;
  readonly #options: GraphHookOptions;
  #data = 0;
  #rowBytes = 0;
  #probs = 0;
  #probsRowBytes = 0;
  #selection = 0;
  #selectionRowBytes = 0;

  constructor(words: NativeWords, options: GraphHookOptions) {
    this.#words = words;
    this.#options = options;
  }

  read(topk: number, layer: number, logits: number, probs: number): void {
    const words = this.#words;
    const { experts, opSoftMax, opUnary, opSqrt, opMulMat } = this.#options;
    this.layer = layer;
    this.expertsUsed = words.u64(topk + TENSOR_OFFSET.ne);
    this.tokens = words.u64(topk + TENSOR_OFFSET.ne + 8);
    this.#data = words.u64(topk + TENSOR_OFFSET.data);
    // The node is a view of the first k columns of the full argsort: rows are nb[1] apart, not k * 4.
    this.#rowBytes = words.u64(topk + TENSOR_OFFSET.nb + 8);
    this.hasProbabilities = probs !== 0 && words.u64(probs + TENSOR_OFFSET.ne) === experts;
    this.scoring = undefined;
    if (this.hasProbabilities) {
      const op = words.i32(probs + TENSOR_OFFSET.op);
      this.scoring =
        op === opSoftMax ? "softmax" : op === opUnary ? "sigmoid" : op === opSqrt ? "root of softplus" : "logits";
      this.#probs = words.u64(probs + TENSOR_OFFSET.data);
      this.#probsRowBytes = words.u64(probs + TENSOR_OFFSET.nb + 8);
    }
    this.#findSelection(topk);
    this.hasInput = false;
    this.inputAddress = 0;
    this.inputWidth = 0;
    this.routerWeights = 0;
    this.inputNormWeights = 0;
    if (logits !== 0 && words.i32(logits + TENSOR_OFFSET.op) === opMulMat) this.#readInput(logits);
  }

  /**
   * The choice is a view of an argsort (ggml_argsort_top_k, ggml.c:5441), which never overwrites what it sorts
   * (ggml_op_can_inplace, ggml-alloc.c:22), and nothing has run since.
   */
  #findSelection(topk: number): void {
    const words = this.#words;
    const sorted = words.u64(topk + TENSOR_OFFSET.src);
    this.#selection = 0;
    if (sorted === 0 || words.i32(sorted + TENSOR_OFFSET.op) !== this.#options.opArgsort) return;
    const scores = words.u64(sorted + TENSOR_OFFSET.src);
    if (words.i32(scores + TENSOR_OFFSET.type) !== GgmlType.F32) return;
    if (words.u64(scores + TENSOR_OFFSET.ne) !== this.#options.experts) return;
    this.#selection = words.u64(scores + TENSOR_OFFSET.data);
    this.#selectionRowBytes = words.u64(scores + TENSOR_OFFSET.nb + 8);
  }

  #readInput(logits: number): void {
    const words = this.#words;
    const weights = words.u64(logits + TENSOR_OFFSET.src);
    const input = words.u64(logits + TENSOR_OFFSET.src + 8);
    const width = words.u64(input + TENSOR_OFFSET.ne);
    const dense = words.u64(input + TENSOR_OFFSET.nb) === 4 && words.u64(input + TENSOR_OFFSET.nb + 8) === width * 4;
    if (words.i32(input + TENSOR_OFFSET.type) !== GgmlType.F32 || !dense) return;
    if (words.u64(input + TENSOR_OFFSET.ne + 8) !== this.tokens) return;
    this.hasInput = true;
    this.routerWeights = weights;
    this.inputWidth = width;
    this.inputAddress = words.u64(input + TENSOR_OFFSET.data);
    if (words.i32(input + TENSOR_OFFSET.op) === this.#options.opMul)
      this.inputNormWeights = words.u64(words.u64(input + TENSOR_OFFSET.src + 8) + TENSOR_OFFSET.data);
  }

  expert(token: number, rank: number): number {
    return this.#words.i32(this.#data + token * this.#rowBytes + rank * 4);
  }

  setExpert(token: number, rank: number, expert: number): void {
    this.#words.setI32(this.#data + token * this.#rowBytes + rank * 4, expert);
  }

  readInput(into: Float32Array): void {
    this.#words.copyFloats(this.inputAddress, this.tokens * this.inputWidth, into, 0);
  }

  readSelectionScores(into: Float32Array): boolean {
    if (this.#selection === 0) return false;
    this.#readRows(this.#selection, this.#selectionRowBytes, into);
    return true;
  }

  /** `[tokens][experts]` floats whose rows are `rowBytes` apart. */
  #readRows(address: number, rowBytes: number, into: Float32Array): void {
    const { experts } = this.#options;
    // Word by word it took 2.5 ms for the eight layers of a batch of 100 ms.
    if (rowBytes === experts * 4) this.#words.copyFloats(address, this.tokens * experts, into, 0);
    else
      for (let token = 0; token < this.tokens; token++)
        this.#words.copyFloats(address + token * rowBytes, experts, into, token * experts);
  }

  readProbabilities(into: Float32Array): void {
    const { experts } = this.#options;
    this.#readRows(this.#probs, this.#probsRowBytes, into);
    if (this.scoring === "softmax") return;
    for (let first = 0; first < this.tokens * experts; first += experts) {
      let largest = Number.NEGATIVE_INFINITY;
      for (let e = first; e < first + experts; e++) if (into[e] > largest) largest = into[e];
      let sum = 0;
      for (let e = first; e < first + experts; e++) {
        const share = this.scoring === "logits" ? Math.exp(into[e] - largest) : Math.max(0, into[e]);
        into[e] = share;
        sum += share;
      }
      for (let e = first; e < first + experts; e++) into[e] = sum > 0 ? into[e] / sum : 1 / experts;
    }
  }
}

/** Four characters as the little-endian word they are in memory; fewer are padded with zeros. */
function word(text: string): number {
  const bytes = [0, 1, 2, 3].map((i) => (i < text.length ? text.charCodeAt(i) : 0));
  return (bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24)) >>> 0;
}
