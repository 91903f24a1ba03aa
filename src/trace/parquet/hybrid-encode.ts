/**
 * Parquet's run-length and bit-packed hybrid, the encoding of levels and of indexes into a dictionary. Writing only; each
 * function appends runs of one form, and a stream may mix them.
 */
import type { ByteWriter } from "hyparquet-writer";

/** Bits that numbers from 0 to `largest` need, at least one: some readers mistake 0 for an error. */
export function bitWidthOf(largest: number): number {
  return Math.max(1, 32 - Math.clz32(largest));
}

/** One run: `count` times `value`. */
export function appendRun(out: ByteWriter, value: number, count: number, bitWidth: number): void {
  out.appendVarInt(count * 2);
  for (let bits = 0; bits < bitWidth; bits += 8) out.appendUint8((value >>> bits) & 0xff);
}

/** Runs of equal neighbours, each value counting `repeat` times. */
export function appendRuns(out: ByteWriter, values: ArrayLike<number>, repeat: number, bitWidth: number): void {
  for (let start = 0; start < values.length; ) {
    const value = values[start];
    let end = start + 1;
    while (end < values.length && values[end] === value) end++;
    appendRun(out, value, (end - start) * repeat, bitWidth);
    start = end;
  }
}

/** Header of a bit-packed run; the values follow, padded to whole groups of eight. */
export function appendPackedHeader(out: ByteWriter, count: number): void {
  out.appendVarInt(Math.ceil(count / 8) * 2 + 1);
}

/** Bytes of a bit-packed run of `count` values. */
export function packedBytes(count: number, bitWidth: number): number {
  return Math.ceil(count / 8) * bitWidth;
}

/** A bit-packed run of single bits. */
export function appendBits(out: ByteWriter, bits: Uint8Array): void {
  appendPackedHeader(out, bits.length);
  for (let i = 0; i < bits.length; i += 8) {
    let byte = 0;
    for (let bit = 0; bit < 8 && i + bit < bits.length; bit++) byte |= bits[i + bit] << bit;
    out.appendUint8(byte);
  }
}

/**
 * Repetition levels of `rows` lists of `length` elements each as packed bits: 0 where a list starts, 1 elsewhere. The bits
 * repeat every `length` bytes, so that most of it is copying.
 */
export function repetitionBits(rows: number, length: number): Uint8Array {
  const count = rows * length;
  const bytes = new Uint8Array(Math.ceil(count / 8));
  const period = Math.min(length, bytes.length);
  for (let i = 0; i < period * 8; i++) if (i % length !== 0) bytes[i >> 3] |= 1 << (i & 7);
  for (let done = period; done < bytes.length; done *= 2)
    bytes.copyWithin(done, 0, Math.min(done, bytes.length - done));
  const rest = count % 8;
  if (rest !== 0) bytes[bytes.length - 1] &= (1 << rest) - 1;
  return bytes;
}
