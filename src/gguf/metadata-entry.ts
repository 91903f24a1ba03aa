/**
 * Metadata on its way into a file: explicit types, because 32 as u32 and as i32 are different to those who read it.
 * Entries can also be taken over from another file byte by byte, without being decoded.
 */
import { encodeName, u32, u64 } from "./encode.ts";
import { GgufError } from "./errors.ts";
import { streamFileRange } from "./file-range.ts";
import { ALIGNMENT_KEY } from "./header.ts";
import { MAX_KEY_BYTES } from "./limits.ts";
import type { GgufMetadata } from "./metadata.ts";
import type { GgufFile } from "./open.ts";
import { ARRAY_TYPE_NUMBER, type MetadataType, SCALAR_BYTES, type ScalarType, valueTypeNumber } from "./value-types.ts";

type NumberType = Exclude<ScalarType, "string" | "bool">;

export type MetadataEntry =
  | { readonly key: string; readonly type: NumberType; readonly value: number | bigint }
  | { readonly key: string; readonly type: "bool"; readonly value: boolean }
  | { readonly key: string; readonly type: "string"; readonly value: string }
  | { readonly key: string; readonly type: `${NumberType}[]`; readonly value: Iterable<number | bigint> }
  | { readonly key: string; readonly type: "bool[]"; readonly value: Iterable<boolean> }
  | { readonly key: string; readonly type: "string[]"; readonly value: Iterable<string> }
  /** The entry of the same key in another file, with its type, as raw bytes. */
  | { readonly key: string; readonly type: "copy"; readonly from: GgufMetadata };

export interface CopyMetadataOptions {
  /** Keys to leave out, because the new file sets them itself. Default: none. */
  readonly without?: Iterable<string>;
}

/**
 * All metadata of a file for a file derived from it. Left out besides `without`: `split.*`, which would make a reader
 * look for shards, and `general.alignment`, which the writer sets.
 */
export function copyMetadata(gguf: GgufFile, options: CopyMetadataOptions = {}): MetadataEntry[] {
  const without = new Set(options.without);
  return gguf.metadata
    .keys()
    .filter((key) => !without.has(key) && !key.startsWith("split.") && key !== ALIGNMENT_KEY)
    .map((key) => ({ key, type: "copy", from: gguf.metadata }));
}

/**
 * The bytes of one entry, in pieces.
 * @throws GgufError `bad-name` or `bad-value` naming `path` (the file being written) if a value does not fit its type.
 */
export function* encodeEntry(entry: MetadataEntry, path: string): Generator<Uint8Array, void, undefined> {
  yield encodeName(entry.key, MAX_KEY_BYTES, path);
  if (entry.type === "copy") {
    const location = entry.from.locate(entry.key);
    if (location === undefined)
      throw new GgufError("missing-key", entry.from.path, undefined, `there is no metadata key ${entry.key} to copy.`);
    yield* typeAndCount(location.type, location.count);
    yield* streamFileRange(entry.from.path, location.offset, location.bytes);
    return;
  }
  const element = (entry.type.endsWith("[]") ? entry.type.slice(0, -2) : entry.type) as ScalarType;
  const values = entry.type.endsWith("[]") ? [...(entry.value as Iterable<EntryScalar>)] : [entry.value as EntryScalar];
  yield* typeAndCount(entry.type, values.length);
  for (const value of values) yield encodeScalar(element, value, entry.key, path);
}

type EntryScalar = number | bigint | boolean | string;

function* typeAndCount(type: MetadataType, count: number): Generator<Uint8Array, void, undefined> {
  if (!type.endsWith("[]")) return yield u32(valueTypeNumber(type as ScalarType));
  yield u32(ARRAY_TYPE_NUMBER);
  yield u32(valueTypeNumber(type.slice(0, -2) as ScalarType));
  yield u64(count);
}

function encodeScalar(type: ScalarType, value: EntryScalar, key: string, path: string): Uint8Array {
  if (type === "string") {
    const text = Buffer.from(String(value), "utf8");
    return Buffer.concat([u64(text.length), text]);
  }
  const bytes = Buffer.alloc(SCALAR_BYTES[type]);
  try {
    if (type !== "bool") requireNumberOf(type, value);
    writeScalar(type, bytes, value);
  } catch (error) {
    throw new GgufError(
      "bad-value",
      path,
      undefined,
      `${key}: ${value} cannot be stored as ${type}. Choose a type that holds it.`,
      error,
    );
  }
  return bytes;
}

/** Node's integer writers refuse what is out of range, but round fractions silently, and f32 turns 1e300 into infinity. */
function requireNumberOf(type: NumberType, value: EntryScalar): void {
  if (typeof value === "bigint") return;
  const number = Number(value);
  const kept =
    type === "f64" ||
    (type === "f32" ? Number.isFinite(number) === Number.isFinite(Math.fround(number)) : Number.isInteger(number));
  if (!kept) throw new RangeError(`${number} does not survive as ${type}`);
}

function writeScalar(scalar: Exclude<ScalarType, "string">, bytes: Buffer, value: EntryScalar): void {
  switch (scalar) {
    case "u8":
      bytes.writeUInt8(Number(value));
      break;
    case "i8":
      bytes.writeInt8(Number(value));
      break;
    case "u16":
      bytes.writeUInt16LE(Number(value));
      break;
    case "i16":
      bytes.writeInt16LE(Number(value));
      break;
    case "u32":
      bytes.writeUInt32LE(Number(value));
      break;
    case "i32":
      bytes.writeInt32LE(Number(value));
      break;
    case "f32":
      bytes.writeFloatLE(Number(value));
      break;
    case "bool":
      bytes.writeUInt8(value ? 1 : 0);
      break;
    case "u64":
      bytes.writeBigUInt64LE(BigInt(value));
      break;
    case "i64":
      bytes.writeBigInt64LE(BigInt(value));
      break;
    case "f64":
      bytes.writeDoubleLE(Number(value));
      break;
    default: {
      scalar satisfies never;
    }
  }
}
