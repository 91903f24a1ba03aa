/**
 * Expert activation matrices as bytes, for a later run: a header of six 32-bit numbers, then 32-bit floats. Which model
 * they are of is known to whoever keeps them; here only the shape is checked.
 */
import { LearnedStateError } from "./learned-state-error.ts";

/** "EAMC" and the version of this layout. */
const MAGIC = 0x434d4145;
const VERSION = 1;
const HEADER_NUMBERS = 6;

export interface SavedEamCollections {
  readonly layers: number;
  readonly experts: number;
  /** [layers * experts] Tokens that used each expert, in all requests. */
  readonly uses: ArrayLike<number>;
  /** Matrices of both phases, one after the other. */
  readonly prefill: Float32Array;
  readonly decode: Float32Array;
}

export function writeEamCollections({ layers, experts, uses, prefill, decode }: SavedEamCollections): Uint8Array {
  const matrix = layers * experts;
  const bytes = new Uint8Array(4 * (HEADER_NUMBERS + matrix + prefill.length + decode.length));
  new Uint32Array(bytes.buffer, 0, HEADER_NUMBERS).set([
    MAGIC,
    VERSION,
    layers,
    experts,
    prefill.length / matrix,
    decode.length / matrix,
  ]);
  const values = new Float32Array(bytes.buffer, 4 * HEADER_NUMBERS);
  values.set(uses);
  values.set(prefill, matrix);
  values.set(decode, matrix + prefill.length);
  return bytes;
}

/** @throws LearnedStateError */
export function readEamCollections(
  bytes: Uint8Array,
  layers: number,
  experts: number,
): { readonly uses: Float32Array; readonly prefill: Float32Array; readonly decode: Float32Array } {
  // A copy, because the bytes may lie anywhere in their buffer and numbers may not.
  const buffer = bytes.slice().buffer;
  const header = new Uint32Array(buffer, 0, Math.min(HEADER_NUMBERS, Math.floor(bytes.length / 4)));
  const [magic, version, savedLayers, savedExperts, prefillCount = 0, decodeCount = 0] = header;
  if (magic !== MAGIC || version !== VERSION) throw new LearnedStateError("moe-infinity", "it has another format");
  if (savedLayers !== layers || savedExperts !== experts)
    throw new LearnedStateError(
      "moe-infinity",
      `it is of a model with ${savedLayers} layers of ${savedExperts} experts, this one has ${layers} of ${experts}`,
    );
  const matrix = layers * experts;
  if (bytes.length !== 4 * (HEADER_NUMBERS + matrix * (1 + prefillCount + decodeCount)))
    throw new LearnedStateError("moe-infinity", "it has the wrong length");
  const values = new Float32Array(buffer, 4 * HEADER_NUMBERS);
  const decodeFrom = matrix * (1 + prefillCount);
  return {
    uses: values.subarray(0, matrix),
    prefill: values.subarray(matrix, decodeFrom),
    decode: values.subarray(decodeFrom),
  };
}
