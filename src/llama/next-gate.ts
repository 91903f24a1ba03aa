/**
 * What the next MoE layer's router would say about this layer's residual stream: the prediction of Mixtral-Offload
 * (Eliseev and Mazur 2023, section 3.3), which knows the next layer's experts before that layer runs. The router's
 * input of layer l is norm_l(x); multiplied with the quotient of the two layers' norm weights it becomes what layer
 * l + 1 would see if the blocks between added nothing to x.
 */
import koffi from "koffi";
import type { RouterStop } from "./graph-hook.ts";
import type { Libraries } from "./libraries.ts";
import { SideGraph, type SideProgram } from "./side-graph.ts";
import type { NativePointer } from "./structs.ts";

/** Addresses of one MoE layer's router, 0 for what the model does not have. */
export interface RouterPlace {
  /** F32 `[hidden, experts]`. */
  readonly weights: number;
  /** F32 `[hidden]` weights of the norm before the router. */
  readonly norm: number;
}

export interface NextGateOptions {
  readonly libraries: Libraries;
  readonly routers: readonly RouterPlace[];
  readonly hiddenSize: number;
  readonly experts: number;
  /** Tokens of a micro-batch at most. */
  readonly microBatchTokens: number;
}

export class NextGate {
  readonly #options: NextGateOptions;
  readonly #side: SideGraph;
  readonly #buffers: NativePointer[] = [];
  readonly #output: number;
  readonly #scratch: number;
  readonly #scores: Float32Array;
  /** Per layer, the address of norm(l + 1) / norm(l); 0 until computed, -1 when the model has no such norms. */
  readonly #ratios: Float64Array;
  /** Graphs for one token, by layer. */
  readonly #products: (SideProgram | undefined)[] = [];

  constructor(options: NextGateOptions) {
    this.#options = options;
    this.#side = new SideGraph(options.libraries);
    const outputFloats = options.experts * options.microBatchTokens;
    const output = this.#allocate(outputFloats);
    this.#output = Number(output);
    this.#scratch = Number(this.#allocate(options.hiddenSize * options.microBatchTokens));
    this.#scores = new Float32Array(koffi.view(output, outputFloats * 4) as ArrayBuffer);
    this.#ratios = new Float64Array(options.routers.length);
  }

  /** Raw scores `[tokens][experts]` of layer `stop.layer + 1`; undefined for the last layer or a router of another kind. */
  scores(stop: RouterStop): Float32Array | undefined {
    const next = this.#options.routers[stop.layer + 1];
    if (next === undefined || next.weights === 0 || stop.inputAddress === 0 || stop.tokens === 0) return undefined;
    if (stop.inputWidth !== this.#options.hiddenSize) return undefined;
    const kept = stop.tokens === 1 ? this.#products[stop.layer] : undefined;
    const product = kept ?? this.#build(stop, next);
    const ran = product.run(stop.inputAddress);
    if (stop.tokens === 1) this.#products[stop.layer] = product;
    else product.free();
    return ran ? this.#scores : undefined;
  }

  dispose(): void {
    for (const product of this.#products) product?.free();
    this.#side.dispose();
    for (const buffer of this.#buffers) koffi.free(buffer);
  }

  #build(stop: RouterStop, next: RouterPlace): SideProgram {
    const { hiddenSize, experts } = this.#options;
    return this.#side.routerProduct({
      hidden: hiddenSize,
      experts,
      tokens: stop.tokens,
      weights: next.weights,
      ratio: this.#ratio(stop, next),
      output: this.#output,
      scratch: this.#scratch,
    });
  }

  #ratio(stop: RouterStop, next: RouterPlace): number {
    const known = this.#ratios[stop.layer];
    if (known !== 0) return Math.max(known, 0);
    const own = this.#options.routers[stop.layer].norm;
    // Only if the input really is the product with that norm's weights is the quotient meaningful.
    if (own === 0 || next.norm === 0 || own !== stop.inputNormWeights) {
      this.#ratios[stop.layer] = -1;
      return 0;
    }
    const { hiddenSize } = this.#options;
    const view = (address: number) => new Float32Array(koffi.view(BigInt(address), hiddenSize * 4) as ArrayBuffer);
    const buffer = this.#allocate(hiddenSize);
    const ratio = view(Number(buffer));
    const from = view(own);
    const to = view(next.norm);
    for (let i = 0; i < hiddenSize; i++) ratio[i] = from[i] === 0 ? 0 : to[i] / from[i];
    this.#ratios[stop.layer] = Number(buffer);
    return Number(buffer);
  }

  #allocate(floats: number): NativePointer {
    const buffer = koffi.alloc("float", floats) as NativePointer;
    this.#buffers.push(buffer);
    return buffer;
  }
}
