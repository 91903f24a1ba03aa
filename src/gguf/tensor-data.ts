/**
 * Tensor data of an opened file for those who inspect it or derive another file from it. Not on the engine's path.
 */
import { GgufError } from "./errors.ts";
import { readFileRange, streamFileRange } from "./file-range.ts";
import type { GgufFile, GgufTensor } from "./open.ts";
import type { TensorSource } from "./write.ts";

export interface TensorRange {
  /** First byte, counted from the tensor's start. Default 0. */
  readonly offset?: number;
  /** Default: up to the tensor's end. */
  readonly bytes?: number;
}

/** Bytes of a tensor, or of a part of it such as one expert's slice, in the tensor's own type. */
export function readTensor(gguf: GgufFile, tensor: GgufTensor, range: TensorRange = {}): Uint8Array {
  const { offset, bytes } = withinTensor(gguf, tensor, range);
  return readFileRange(gguf.shards[tensor.shard].path, offset, bytes);
}

/** Values of a float32 tensor. Copied, because a buffer of bytes need not lie at a multiple of four. */
export function readFloats(gguf: GgufFile, tensor: GgufTensor): Float32Array<ArrayBuffer> {
  return new Float32Array(Uint8Array.from(readTensor(gguf, tensor)).buffer);
}

/** `readTensor` in pieces of at most 4 MiB, each a buffer of its own. */
export function streamTensor(gguf: GgufFile, tensor: GgufTensor, range: TensorRange = {}): Iterable<Uint8Array> {
  const { offset, bytes } = withinTensor(gguf, tensor, range);
  return streamFileRange(gguf.shards[tensor.shard].path, offset, bytes);
}

/** A tensor as it is, for `writeGguf`. */
export function copyTensor(gguf: GgufFile, tensor: GgufTensor): TensorSource {
  const { name, type, shape } = tensor;
  return { name, type, shape, data: () => streamTensor(gguf, tensor) };
}

function withinTensor(gguf: GgufFile, tensor: GgufTensor, range: TensorRange): Required<TensorRange> {
  const { offset = 0, bytes = tensor.bytes - offset } = range;
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= tensor.bytes))
    throw new GgufError(
      "bad-value",
      gguf.shards[tensor.shard].path,
      tensor.offset,
      `bytes ${offset} to ${offset + bytes} were asked of ${tensor.name}, which has ${tensor.bytes}.`,
    );
  return { offset: tensor.offset + offset, bytes };
}
