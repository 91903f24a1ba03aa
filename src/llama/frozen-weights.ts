/**
 * Weights of a model file that are read again each time they are needed, one matrix at a time, and never kept: what lets
 * a model be trained that does not fit in memory. The page cache makes repeated reads cheap where there is room for it.
 */
import fs from "node:fs";
import type { GgufFile, GgufTensor } from "../gguf/index.ts";
import { type NativeFloats, nativeFloats } from "./native-arrays.ts";
import { GgmlType } from "./structs.ts";
import type { Tensor, TensorGraph } from "./tensor-graph.ts";

export class FrozenWeights implements Disposable {
  readonly #files: readonly number[];
  readonly #small = new Map<string, NativeFloats>();
  #scratch: NativeFloats = nativeFloats(0);
  #bytes: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** @throws the system's error if a file cannot be opened */
  constructor(gguf: GgufFile) {
    this.#files = gguf.shards.map(({ path }) => fs.openSync(path, "r"));
  }

  /**
   * Makes room for matrices of `bytes` together and forgets those that were read before. Call it before each graph.
   */
  begin(bytes: number): void {
    this.#used = 0;
    if (bytes <= this.#bytes.length) return;
    this.#scratch[Symbol.dispose]();
    this.#scratch = nativeFloats(Math.ceil(bytes / 4));
    this.#bytes = new Uint8Array(this.#scratch.values.buffer);
  }

  /** Room that a matrix needs in `begin`. */
  bytesOf(tensor: GgufTensor): number {
    return alignedBytes(tensor.bytes / (tensor.shape[2] ?? 1));
  }

  /** A matrix, or of a stack of matrices the `index`-th, as float32. */
  matrix(graph: TensorGraph, tensor: GgufTensor, index = 0): Tensor {
    const [columns, rows = 1, count = 1] = tensor.shape;
    const bytes = tensor.bytes / count;
    const at = this.#used;
    this.#used += alignedBytes(bytes);
    const target = this.#bytes.subarray(at, at + bytes);
    fs.readSync(this.#files[tensor.shard], target, 0, bytes, tensor.offset + index * bytes);
    const stored = graph.input(this.#scratch.address + at, [columns, rows], tensor.type as GgmlType);
    return tensor.type === GgmlType.F32 ? stored : graph.toFloat32(stored);
  }

  /** A norm's weights or a bias: float32 in every file that llama.cpp loads, small, and kept. */
  vector(graph: TensorGraph, tensor: GgufTensor): Tensor {
    let kept = this.#small.get(tensor.name);
    if (kept === undefined) {
      if (tensor.type !== GgmlType.F32) throw new RangeError(`${tensor.name} is ${tensor.typeName}, not f32`);
      kept = nativeFloats(tensor.bytes / 4);
      const bytes = new Uint8Array(kept.values.buffer);
      fs.readSync(this.#files[tensor.shard], bytes, 0, tensor.bytes, tensor.offset);
      this.#small.set(tensor.name, kept);
    }
    return graph.input(kept.address, [kept.values.length]);
  }

  /** The same values for TypeScript, as a copy. */
  floats(tensor: GgufTensor): Float32Array {
    const values = new Float32Array(tensor.bytes / 4);
    fs.readSync(this.#files[tensor.shard], new Uint8Array(values.buffer), 0, tensor.bytes, tensor.offset);
    return values;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) fs.closeSync(file);
    for (const kept of this.#small.values()) kept[Symbol.dispose]();
    this.#small.clear();
    this.#scratch[Symbol.dispose]();
  }
}

/** ggml's vector loads are fastest, and for some types only right, on whole 64-byte lines. */
function alignedBytes(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}
