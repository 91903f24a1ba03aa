/**
 * A gate times many inputs, and the gradient of a gate from that of its logits, four floats at a time. Owns memory for one
 * gate and one batch; what the logits are for is the caller's business.
 */
import { adamStep, KernelMemory, padded } from "../predict/kernels.ts";

export interface GateShape {
  readonly width: number;
  readonly experts: number;
  /** Tokens of a batch at most. */
  readonly batchTokens: number;
}

export class GateProduct {
  readonly #width: number;
  readonly #experts: number;
  /** Row counts and lengths with padding. */
  readonly #columns: number;
  readonly #rows: number;
  readonly #tokens: number;
  readonly #memory = new KernelMemory();
  readonly #gate: number;
  readonly #inputs: number;
  readonly #logits: number;

  constructor({ width, experts, batchTokens }: GateShape) {
    this.#width = width;
    this.#experts = experts;
    this.#columns = padded(width);
    this.#rows = padded(experts);
    this.#tokens = padded(batchTokens);
    this.#gate = this.#memory.allocate(this.#rows * this.#columns);
    this.#inputs = this.#memory.allocate(this.#tokens * this.#columns);
    this.#logits = this.#memory.allocate(this.#tokens * this.#rows);
  }

  /** @param gate `[experts][width]` */
  setGate(gate: Float32Array): void {
    const to = this.#memory.floats(this.#gate, this.#rows * this.#columns);
    for (let e = 0; e < this.#experts; e++)
      to.set(gate.subarray(e * this.#width, (e + 1) * this.#width), e * this.#columns);
  }

  /** Logits of all inputs, `[tokens][experts]`, in batches. @param hidden `[tokens][width]` */
  logits(hidden: Float32Array, tokens: number, bias: Float32Array | undefined): Float32Array {
    const logits = new Float32Array(tokens * this.#experts);
    for (let from = 0; from < tokens; from += this.#tokens) {
      const count = Math.min(this.#tokens, tokens - from);
      const inputs = this.#memory.floats(this.#inputs, count * this.#columns);
      for (let t = 0; t < count; t++) {
        const at = (from + t) * this.#width;
        inputs.set(hidden.subarray(at, at + this.#width), t * this.#columns);
      }
      const even = count + (count % 2);
      this.#memory.kernels.multiply(this.#inputs, this.#gate, this.#logits, even, this.#rows, 4 * this.#columns);
      const own = this.#memory.floats(this.#logits, count * this.#rows);
      for (let t = 0; t < count; t++)
        for (let e = 0; e < this.#experts; e++)
          logits[(from + t) * this.#experts + e] = own[t * this.#rows + e] + (bias?.[e] ?? 0);
    }
    return logits;
  }
}

/** A gate with its bias while AdamW (without decay) trains it on batches. */
export class GateTrainer {
  readonly #shape: GateShape;
  readonly #product: GateProduct;
  readonly #memory = new KernelMemory();
  readonly #columns: number;
  readonly #rows: number;
  readonly #tokens: number;
  readonly #bias: Float32Array | undefined;
  readonly #values: number;
  readonly #gradient: number;
  readonly #mean: number;
  readonly #variance: number;
  readonly #biasAt: number;
  readonly #inputsTransposed: number;
  readonly #dzTransposed: number;
  #steps = 0;

  /** @param gate `[experts][width]` @param bias `[experts]`; trained too when it is there */
  constructor(shape: GateShape, gate: Float32Array, bias: Float32Array | undefined) {
    this.#shape = shape;
    const { width, experts } = shape;
    this.#product = new GateProduct(shape);
    // The bias is the weight of one more input, which is 1.
    this.#columns = padded(width + 1);
    this.#rows = padded(experts);
    this.#tokens = padded(shape.batchTokens);
    this.#biasAt = width;
    this.#bias = bias?.slice();
    const room = (floats: number) => this.#memory.allocate(floats);
    const weights = this.#rows * this.#columns;
    [this.#values, this.#gradient, this.#mean, this.#variance] = [weights, weights, weights, weights].map(room);
    this.#inputsTransposed = room(this.#columns * this.#tokens);
    this.#dzTransposed = room(this.#rows * this.#tokens);
    const values = this.#memory.floats(this.#values, weights);
    for (let e = 0; e < experts; e++) {
      values.set(gate.subarray(e * width, (e + 1) * width), e * this.#columns);
      if (bias !== undefined) values[e * this.#columns + this.#biasAt] = bias[e];
    }
    this.#product.setGate(gate);
  }

  /** `[tokens][experts]` @param hidden `[tokens][width]`, a batch at most */
  logits(hidden: Float32Array, tokens: number): Float32Array {
    return this.#product.logits(hidden, tokens, this.#bias);
  }

  /**
   * One step against the gradient of the batch's logits, clipped to a norm of `clip`. False, and no step, when the gradient
   * is not finite.
   */
  step(hidden: Float32Array, dz: Float32Array, tokens: number, learningRate: number, clip: number): boolean {
    const { width, experts } = this.#shape;
    const weights = this.#rows * this.#columns;
    const padding = this.#tokens;
    const inputs = this.#memory.floats(this.#inputsTransposed, this.#columns * padding);
    const gradients = this.#memory.floats(this.#dzTransposed, this.#rows * padding);
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < width; i++) inputs[i * padding + t] = hidden[t * width + i];
      for (let e = 0; e < experts; e++) gradients[e * padding + t] = dz[t * experts + e];
    }
    for (let i = 0; i < width; i++) inputs.fill(0, i * padding + tokens, (i + 1) * padding);
    for (let e = 0; e < experts; e++) gradients.fill(0, e * padding + tokens, (e + 1) * padding);
    if (this.#bias !== undefined) inputs.fill(1, this.#biasAt * padding, this.#biasAt * padding + tokens);
    const { kernels } = this.#memory;
    const at = [this.#dzTransposed, this.#inputsTransposed, this.#gradient] as const;
    kernels.multiply(...at, this.#rows, this.#columns, 4 * padding);
    const gradient = this.#memory.floats(this.#gradient, weights);
    let square = 0;
    for (const value of gradient) square += value * value;
    const norm = Math.sqrt(square);
    if (!Number.isFinite(norm)) return false;
    if (norm > clip) for (let i = 0; i < weights; i++) gradient[i] *= clip / norm;
    const { rate, varianceScale } = adamStep(learningRate, ++this.#steps);
    const adam = [this.#values, this.#gradient, this.#mean, this.#variance] as const;
    kernels.adam(...adam, 4 * weights, rate, varianceScale);
    this.#product.setGate(this.gate);
    for (let e = 0; e < experts && this.#bias !== undefined; e++)
      this.#bias[e] = this.#memory.floats(this.#values, weights)[e * this.#columns + this.#biasAt];
    return true;
  }

  /** A copy, `[experts][width]`. */
  get gate(): Float32Array {
    const { width, experts } = this.#shape;
    const values = this.#memory.floats(this.#values, this.#rows * this.#columns);
    const gate = new Float32Array(experts * width);
    for (let e = 0; e < experts; e++)
      gate.set(values.subarray(e * this.#columns, e * this.#columns + width), e * width);
    return gate;
  }

  get bias(): Float32Array | undefined {
    return this.#bias?.slice();
  }
}
