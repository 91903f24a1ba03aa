/** Reads Parquet's run-length and bit-packed hybrid into typed arrays. Never reads or writes beyond what it was given. */
import { MalformedError } from "./compact-structs.ts";

export type NumberArray = Uint8Array | Uint16Array | Uint32Array | Int32Array;

/**
 * `count` numbers of `bitWidth` bits into `out` from `at` on.
 * @throws MalformedError when the bytes hold fewer, or a run is longer than what is left
 */
export function decodeHybrid(bytes: Uint8Array, bitWidth: number, out: NumberArray, at: number, count: number): void {
  if (bitWidth > 32) throw new MalformedError(`${bitWidth} bits per number`);
  if (bitWidth === 0) {
    out.fill(0, at, at + count);
    return;
  }
  const end = at + count;
  let offset = 0;
  while (at < end) {
    let header = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[offset++];
      if (byte === undefined || factor > 2 ** 35) throw new MalformedError("ends within a run");
      header += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    const length = Math.floor(header / 2);
    if (header % 2 === 1) {
      const present = Math.min(length * 8, end - at);
      unpack(bytes, offset, bitWidth, out, at, present);
      offset += length * bitWidth;
      at += present;
    } else {
      if (length > end - at) throw new MalformedError("a run that is too long");
      const valueBytes = (bitWidth + 7) >> 3;
      if (offset + valueBytes > bytes.length) throw new MalformedError("ends within a run");
      let value = 0;
      for (let i = 0; i < valueBytes; i++) value += bytes[offset + i] * 2 ** (8 * i);
      if (value >= 2 ** bitWidth) throw new MalformedError(`${value} in ${bitWidth} bits`);
      out.fill(value, at, at + length);
      offset += valueBytes;
      at += length;
    }
  }
}

function unpack(
  bytes: Uint8Array,
  offset: number,
  bitWidth: number,
  out: NumberArray,
  at: number,
  count: number,
): void {
  if (offset + Math.ceil((count * bitWidth) / 8) > bytes.length) throw new MalformedError("ends within a run");
  if (bitWidth === 8) {
    out.set(bytes.subarray(offset, offset + count), at);
    return;
  }
  // At most 32 bits of a number from at most 5 bytes: too many for integer operators, so by parts.
  const mask = 2 ** Math.min(bitWidth, 24) - 1;
  for (let i = 0, bit = offset * 8; i < count; i++, bit += bitWidth) {
    const from = bit >> 3;
    const shift = bit & 7;
    const low = bytes[from] | ((bytes[from + 1] ?? 0) << 8) | ((bytes[from + 2] ?? 0) << 16);
    const high = bytes[from + 3] ?? 0;
    let value = ((low >>> shift) | (high << (24 - shift))) & mask;
    if (bitWidth > 24) {
      const top = (high | ((bytes[from + 4] ?? 0) << 8)) >>> shift;
      value += (top & (2 ** (bitWidth - 24) - 1)) * 2 ** 24;
    }
    out[at + i] = value;
  }
}
