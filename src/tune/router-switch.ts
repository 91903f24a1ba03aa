/**
 * Changes the routers of an open model from one variant to another and back, between two forward passes: its gates are pointed
 * at memory of their own once, and that is overwritten. One model in memory serves all variants of a comparison.
 */
import type { GateValues } from "../adapter/index.ts";
import type { Model } from "../llama/model.ts";
import { moveWeights } from "../llama/model-tensor.ts";
import { releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";

export class RouterSwitch implements Disposable {
  readonly #address: number;
  readonly #bytes: number;
  readonly #places = new Map<number, { readonly weights: Float32Array; readonly bias: Float32Array | undefined }>();

  /** @param gates of all layers that any variant changes; they are what the model starts with */
  constructor(model: Model, gates: readonly GateValues[]) {
    const floats = gates.reduce((sum, { weights, bias }) => sum + weights.length + (bias?.length ?? 0), 0);
    this.#bytes = 4 * floats;
    this.#address = reserveMemory(this.#bytes);
    let at = this.#address;
    const place = (name: string, values: Float32Array): Float32Array => {
      const view = new Float32Array(viewMemory(at, 4 * values.length));
      view.set(values);
      moveWeights(model, name, at, values.length);
      at += 4 * values.length;
      return view;
    };
    for (const { block, weights, bias } of gates)
      this.#places.set(block, {
        weights: place(`blk.${block}.ffn_gate_inp.weight`, weights),
        bias: bias && place(`blk.${block}.ffn_gate_inp.bias`, bias),
      });
  }

  use(gates: readonly GateValues[]): void {
    for (const { block, weights, bias } of gates) {
      const place = this.#places.get(block);
      if (place === undefined) throw new RangeError(`the router of block ${block} was not among the first ones`);
      place.weights.set(weights);
      if (bias !== undefined) place.bias?.set(bias);
    }
  }

  /** To be called once nothing computes with the model any more. */
  [Symbol.dispose](): void {
    releaseMemory(this.#address, this.#bytes);
  }
}
