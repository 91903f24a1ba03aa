/**
 * What `warmset` has learned as bytes, for a later run: the models' weights, the averages, and what tokens used. Which
 * model it is of is known to whoever keeps it; here only the shape is checked.
 */
import type { ModelShape } from "../../cache/shape.ts";
import { LearnedStateError } from "../learned-state-error.ts";

/** "WSET" and the version of this layout. */
const MAGIC = 0x54455357;
const VERSION = 1;

type NumberArray = Float64Array | Int32Array | Uint32Array | Uint16Array;

/** The arrays one behind the other, after a header that tells of which shape they are. */
export function writeLearned(shape: ModelShape, arrays: readonly NumberArray[]): Uint8Array {
  const header = headerOf(shape, arrays);
  const parts = [header, ...arrays].map(bytesOf);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Fills the arrays with what `writeLearned` made of arrays of the same lengths. @throws LearnedStateError */
export function readLearned(bytes: Uint8Array, shape: ModelShape, arrays: readonly NumberArray[]): void {
  const expected = bytesOf(headerOf(shape, arrays));
  if (bytes.length < 8 || !equal(bytes.subarray(0, 8), expected.subarray(0, 8)))
    throw new LearnedStateError("warmset", "it has another format");
  if (!equal(bytes.subarray(0, expected.length), expected))
    throw new LearnedStateError("warmset", "it is of a model of another shape, or was learned with other switches");
  const length = arrays.reduce((sum, array) => sum + array.byteLength, expected.length);
  if (bytes.length !== length)
    throw new LearnedStateError("warmset", `it has ${bytes.length} bytes instead of ${length}`);
  let at = expected.length;
  for (const array of arrays) {
    bytesOf(array).set(bytes.subarray(at, at + array.byteLength));
    at += array.byteLength;
    if (array instanceof Float64Array && !array.every(Number.isFinite))
      throw new LearnedStateError("warmset", "it holds numbers that are none");
  }
}

function headerOf({ layers, experts, expertsUsed }: ModelShape, arrays: readonly NumberArray[]): Uint32Array {
  return Uint32Array.of(MAGIC, VERSION, layers, experts, expertsUsed, ...arrays.map(({ length }) => length));
}

function bytesOf(array: NumberArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
