/**
 * Walks Thrift structs (the compact protocol of Parquet's footers and page headers) without making anything of them. What
 * passes can be given to hyparquet's parser, which allocates lists by the length that they claim to have.
 */

const MAX_DEPTH = 32;
/** 64 bits, seven to a byte. */
const MAX_VARINT_BYTES = 10;

const TYPE = { stop: 0, true: 1, false: 2, byte: 3, i16: 4, i32: 5, i64: 6, double: 7, binary: 8, list: 9, struct: 12 };

/** Bytes that make no sense. Says nothing of where: who reads knows the file. */
export class MalformedError extends Error {}

/**
 * Offset behind the struct that starts at `offset`.
 * @throws MalformedError for what does not end within `bytes`, is nested too deeply, or has types that Parquet does not use
 */
export function structEnd(bytes: Uint8Array, offset: number): number {
  return new Walker(bytes, offset).struct(0);
}

class Walker {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#at = offset;
  }

  struct(depth: number): number {
    if (depth > MAX_DEPTH) throw new MalformedError("structs nested too deeply");
    for (;;) {
      const header = this.#byte();
      const type = header & 0x0f;
      if (type === TYPE.stop) return this.#at;
      if (header >> 4 === 0) this.#skipVarint();
      this.#skip(type, depth);
    }
  }

  #skip(type: number, depth: number): void {
    if (type === TYPE.true || type === TYPE.false) return;
    if (type === TYPE.byte) this.#advance(1);
    else if (type === TYPE.i16 || type === TYPE.i32 || type === TYPE.i64) this.#skipVarint();
    else if (type === TYPE.double) this.#advance(8);
    else if (type === TYPE.binary) this.#advance(this.#length());
    else if (type === TYPE.list) this.#skipList(depth);
    else if (type === TYPE.struct) this.struct(depth + 1);
    else throw new MalformedError(`a field of unknown type ${type}`);
  }

  #skipList(depth: number): void {
    const header = this.#byte();
    const type = header & 0x0f;
    const size = header >> 4 === 15 ? this.#length() : header >> 4;
    // Truth values are in the field's header, but in lists they are a byte each.
    const elementType = type === TYPE.true || type === TYPE.false ? TYPE.byte : type;
    for (let i = 0; i < size; i++) this.#skip(elementType, depth);
  }

  /** A count that what follows must be able to hold: an element has one byte at least. */
  #length(): number {
    const start = this.#at;
    this.#skipVarint();
    let value = 0;
    for (let i = this.#at - 1; i >= start; i--) value = value * 128 + (this.#bytes[i] & 0x7f);
    if (value > this.#bytes.length - this.#at) throw new MalformedError("a length beyond the end");
    return value;
  }

  #skipVarint(): void {
    for (let i = 0; i < MAX_VARINT_BYTES; i++) if (this.#byte() < 0x80) return;
    throw new MalformedError("a number without an end");
  }

  #advance(count: number): void {
    this.#at += count;
    if (this.#at > this.#bytes.length) throw new MalformedError("ends too early");
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw new MalformedError("ends too early");
    return this.#bytes[this.#at++];
  }
}
