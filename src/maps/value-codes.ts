/**
 * How the numbers of maps and embeddings are kept: as f32, as IEEE halves or as bytes. Each row has a scale of its own in the
 * two compact forms, so a decoded map row sums to 1 whatever was rounded. Only conversions; the dot products are in
 * `row-kernels.ts`.
 */

/** f32: 4 bytes a value; f16: 2; u8: 1 (probabilities by their roots; embeddings, which have signs, as i8). */
export type MapEncoding = "f32" | "f16" | "u8";

export const MAP_ENCODINGS: readonly MapEncoding[] = ["f32", "f16", "u8"];

export const BYTES_PER_VALUE: Readonly<Record<MapEncoding, number>> = { f32: 4, f16: 2, u8: 1 };

/** Every half as a float, NaN and infinities included: 256 KiB, made once. */
export const HALF_VALUES: Float32Array = halfValues();

/** What a byte of a distribution stands for, before the row's scale. */
export const SQUARES: Float32Array = Float32Array.from({ length: 256 }, (_, byte) => byte * byte);

/** The signed number that a byte is. */
export const SIGNED_BYTES: Float32Array = Float32Array.from(new Int8Array(Uint8Array.from(SQUARES.keys()).buffer));

const floatBox = new Float32Array(1);
const bitBox = new Uint32Array(floatBox.buffer);

/** The nearest half, ties to even; beyond the range it is infinite. */
export function halfBits(value: number): number {
  floatBox[0] = value;
  const bits = bitBox[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) return magnitude > 0x7f800000 ? sign | 0x7e00 : sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal halves are whole multiples of 2^-24.
    const steps = Math.abs(floatBox[0]) * 2 ** 24;
    const below = Math.floor(steps);
    const rest = steps - below;
    return sign | (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below);
  }
  const rounded = magnitude + 0x0fff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

function halfValues(): Float32Array {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    const magnitude =
      exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : exponent === 0
          ? fraction * 2 ** -24
          : (1024 + fraction) * 2 ** (exponent - 25);
    values[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return values;
}
