/**
 * The metadata of an opened file. Small scalars were read with the header; arrays and long strings are read from the
 * file each time they are asked for and not kept, because the engine never wants a tokenizer's 150,000 strings in memory.
 */
import { GgufError } from "./errors.ts";
import { readFileRange } from "./file-range.ts";
import type { MetadataLocation } from "./header.ts";
import { decodeScalar, type MetadataType, SCALAR_BYTES, type ScalarType, type ScalarValue } from "./value-types.ts";

export class GgufMetadata {
  /** The file that holds the metadata: the first shard of a split set. */
  readonly path: string;
  readonly #entries: ReadonlyMap<string, MetadataLocation>;

  constructor(path: string, entries: readonly MetadataLocation[]) {
    this.path = path;
    this.#entries = new Map(entries.map((entry) => [entry.key, entry]));
  }

  /** All keys in the file's order. */
  keys(): string[] {
    return [...this.#entries.keys()];
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Type, element count and place in the file of a value, without reading it; undefined if there is no such key. */
  locate(key: string): MetadataLocation | undefined {
    return this.#entries.get(key);
  }

  /** @throws GgufError `missing-key` or `wrong-type`. */
  string(key: string): string {
    const entry = this.#require(key);
    if (entry.type !== "string") this.#wrongType(entry, "a string");
    if (typeof entry.value === "string") return entry.value;
    const bytes = this.#read(entry);
    return checkedString(this.path, entry, bytes, 0).text;
  }

  optionalString(key: string): string | undefined {
    return this.has(key) ? this.string(key) : undefined;
  }

  /**
   * Any integer or float type. Integers beyond 2^53 are refused; `bigint` reads them.
   * @throws GgufError `missing-key` or `wrong-type`.
   */
  number(key: string): number {
    const entry = this.#require(key);
    return this.#toNumber(entry, entry.value);
  }

  optionalNumber(key: string): number | undefined {
    return this.has(key) ? this.number(key) : undefined;
  }

  /** Any integer type, exactly. */
  bigint(key: string): bigint {
    const entry = this.#require(key);
    if (typeof entry.value === "bigint") return entry.value;
    if (typeof entry.value === "number" && Number.isInteger(entry.value)) return BigInt(entry.value);
    return this.#wrongType(entry, "an integer");
  }

  bool(key: string): boolean {
    const entry = this.#require(key);
    return typeof entry.value === "boolean" ? entry.value : this.#wrongType(entry, "a boolean");
  }

  optionalBool(key: string): boolean | undefined {
    return this.has(key) ? this.bool(key) : undefined;
  }

  /** An array of strings, read and decoded now. */
  strings(key: string): string[] {
    const entry = this.#require(key);
    if (entry.type !== "string[]") this.#wrongType(entry, "an array of strings");
    const bytes = this.#read(entry);
    const strings: string[] = [];
    let at = 0;
    for (let i = 0; i < entry.count; i++) {
      const { text, end } = checkedString(this.path, entry, bytes, at);
      strings.push(text);
      at = end;
    }
    return strings;
  }

  /** An array of numbers of any numeric type, read and decoded now. */
  numbers(key: string): number[] {
    const entry = this.#require(key);
    const element = elementType(entry.type);
    if (element === undefined || element === "string" || element === "bool")
      this.#wrongType(entry, "an array of numbers");
    return this.#values(entry, element).map((value) => this.#toNumber(entry, value));
  }

  /** An array of booleans, read and decoded now. */
  bools(key: string): boolean[] {
    const entry = this.#require(key);
    if (entry.type !== "bool[]") this.#wrongType(entry, "an array of booleans");
    return this.#values(entry, "bool").map(Boolean);
  }

  /**
   * A number that some architectures give once and others per layer (`feed_forward_length`, `expert_used_count`), as
   * one number per layer. An array must have exactly `layers` numbers, as llama.cpp's `get_key_or_arr` demands.
   */
  numberOrPerLayer(key: string, layers: number): number[] {
    const entry = this.#require(key);
    if (!entry.type.endsWith("[]")) return new Array<number>(layers).fill(this.number(key));
    if (entry.count !== layers)
      throw new GgufError(
        "wrong-type",
        this.path,
        entry.offset,
        `${key} has ${entry.count} numbers for ${layers} layers. Convert the file again.`,
      );
    return this.numbers(key);
  }

  #require(key: string): MetadataLocation {
    const entry = this.#entries.get(key);
    if (entry === undefined)
      throw new GgufError(
        "missing-key",
        this.path,
        undefined,
        `there is no metadata key ${key}. Convert the file again.`,
      );
    return entry;
  }

  #wrongType(entry: MetadataLocation, wanted: string): never {
    throw new GgufError(
      "wrong-type",
      this.path,
      entry.offset,
      `${entry.key} is ${entry.type}, not ${wanted}. Convert the file again.`,
    );
  }

  #toNumber(entry: MetadataLocation, value: ScalarValue | undefined): number {
    if (typeof value === "number") return value;
    if (typeof value !== "bigint") return this.#wrongType(entry, "a number");
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : this.#wrongType(entry, "within 2^53");
  }

  #values(entry: MetadataLocation, element: Exclude<ScalarType, "string">): (number | bigint | boolean)[] {
    const bytes = this.#read(entry);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: entry.count }, (_, i) => decodeScalar(element, view, i * SCALAR_BYTES[element]));
  }

  #read(entry: MetadataLocation): Buffer {
    // Bounded: the header, and so every value in it, was held against MAX_HEADER_BYTES.
    return readFileRange(this.path, entry.offset, entry.bytes);
  }
}

function elementType(type: MetadataType): ScalarType | undefined {
  return type.endsWith("[]") ? (type.slice(0, -2) as ScalarType) : undefined;
}

/** The bytes were measured when the header was parsed; that they still fit is checked because the file may have changed. */
function checkedString(
  path: string,
  entry: MetadataLocation,
  bytes: Buffer,
  at: number,
): { text: string; end: number } {
  const length = at + 8 <= bytes.length ? bytes.readBigUInt64LE(at) : undefined;
  if (length === undefined || length > bytes.length - at - 8)
    throw new GgufError(
      "file-changed",
      path,
      entry.offset + at,
      `${entry.key} is not what it was. Open the file again.`,
    );
  const end = at + 8 + Number(length);
  return { text: bytes.toString("utf8", at + 8, end), end };
}
