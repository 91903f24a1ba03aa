/**
 * Parses the header of one GGUF file: where each metadata value lies, and where each tensor lies. Arrays and long
 * strings are measured and skipped, never decoded. What llama.cpp refuses (gguf.cpp, `gguf_init_from_reader`) is refused
 * here too, so that a layout computed from this header is the layout that the library will use.
 */
import { type GgmlType, ggmlTypeTraits, isGgmlType, tensorSize } from "./ggml-types.ts";
import type { HeaderCursor } from "./header-cursor.ts";
import {
  EAGER_STRING_BYTES,
  MAX_DIMENSIONS,
  MAX_KEY_BYTES,
  MAX_METADATA_ENTRIES,
  MAX_TENSOR_NAME_BYTES,
  MAX_TENSORS,
} from "./limits.ts";
import {
  ARRAY_TYPE_NUMBER,
  decodeScalar,
  type MetadataType,
  SCALAR_BYTES,
  type ScalarType,
  type ScalarValue,
  VALUE_TYPES,
} from "./value-types.ts";

export const DEFAULT_ALIGNMENT = 32;
export const ALIGNMENT_KEY = "general.alignment";

/** Where a metadata value lies. The value itself only if it is a scalar small enough to keep. */
export interface MetadataLocation {
  readonly key: string;
  readonly type: MetadataType;
  /** Elements of an array; 1 for a scalar. */
  readonly count: number;
  /** Byte offset in the file of the first value (behind an array's type and count). */
  readonly offset: number;
  /** Bytes of all values, with the strings' length fields. */
  readonly bytes: number;
  readonly value: ScalarValue | undefined;
}

export interface TensorLocation {
  readonly name: string;
  readonly type: GgmlType;
  /** ne order: ne0 (the row) first, 0 to 4 lengths. */
  readonly shape: readonly number[];
  /** Byte offset in the file, not in the data section. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly alignment: number;
  readonly metadata: readonly MetadataLocation[];
  readonly tensors: readonly TensorLocation[];
  /** Where the data section starts. */
  readonly dataOffset: number;
}

// Smallest encodings: an empty-valued key has 8 + 1 + 4 + 1 bytes, a scalar tensor 8 + 4 + 4 + 8 and a name.
const MIN_ENTRY_BYTES = 14;
const MIN_TENSOR_BYTES = 24;

export function parseHeader(cursor: HeaderCursor): GgufHeader {
  const version = parseVersion(cursor);
  const tensorCount = parseCount(cursor, "tensors", MAX_TENSORS);
  const entryCount = parseCount(cursor, "metadata entries", MAX_METADATA_ENTRIES);
  cursor.requireRoomFor(entryCount, MIN_ENTRY_BYTES, "metadata entries");
  cursor.requireRoomFor(tensorCount, MIN_TENSOR_BYTES, "tensors");

  const metadata: MetadataLocation[] = [];
  const keys = new Set<string>();
  for (let i = 0; i < entryCount; i++) {
    const start = cursor.offset;
    const entry = parseEntry(cursor, i);
    if (keys.has(entry.key))
      cursor.fail("duplicate-key", start, `the metadata key "${entry.key}" is there twice. Convert the file again.`);
    keys.add(entry.key);
    metadata.push(entry);
  }
  const alignment = alignmentOf(cursor, metadata);

  const infos: TensorInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const start = cursor.offset;
    const info = parseTensorInfo(cursor, i);
    if (names.has(info.name))
      cursor.fail("duplicate-tensor", start, `the tensor ${info.name} is there twice. Convert the file again.`);
    names.add(info.name);
    infos.push(info);
  }

  // Without tensors there is no data section and no padding (gguf.h, gguf_get_data_offset).
  const dataOffset = tensorCount === 0 ? cursor.offset : alignUp(cursor.offset, alignment);
  return { version, alignment, metadata, tensors: placeTensors(cursor, infos, dataOffset, alignment), dataOffset };
}

export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function parseVersion(cursor: HeaderCursor): number {
  const magic = cursor.bytes(4, "the magic number").getUint32(0, false);
  if (magic !== 0x47475546)
    cursor.fail(
      "not-gguf",
      0,
      "the file does not start with GGUF. Is this the model's .gguf file, downloaded completely?",
    );
  const version = cursor.u32("the version");
  // A big-endian file has its version's byte at the other end (gguf.cpp uses the same test).
  if ((version & 0xffff) === 0 && version !== 0)
    cursor.fail("big-endian", 4, "this is a big-endian GGUF file. Convert it with gguf-py's gguf_convert_endian.py.");
  if (version !== 2 && version !== 3)
    cursor.fail(
      "unsupported-version",
      4,
      `this is GGUF version ${version}; llama.cpp reads 2 and 3. ${version < 2 ? "Convert the model again." : "A newer warmset is needed."}`,
    );
  return version;
}

function parseCount(cursor: HeaderCursor, what: string, limit: number): number {
  const start = cursor.offset;
  const count = cursor.size(`the number of ${what}`);
  if (count > limit)
    cursor.fail(
      "too-large",
      start,
      `the header announces ${count} ${what}; at most ${limit} are read. Download the file again.`,
    );
  return count;
}

function parseEntry(cursor: HeaderCursor, index: number): MetadataLocation {
  const key = cursor.name(`metadata key ${index}`, MAX_KEY_BYTES);
  const what = `the value of ${key}`;
  const typeOffset = cursor.offset;
  const typeNumber = cursor.u32(`the type of ${key}`);
  if (typeNumber !== ARRAY_TYPE_NUMBER) {
    const type = scalarTypeOf(cursor, typeNumber, typeOffset, key);
    return { key, type, count: 1, ...parseScalar(cursor, type, what) };
  }
  const elementOffset = cursor.offset;
  const elementNumber = cursor.u32(`the element type of ${key}`);
  if (elementNumber === ARRAY_TYPE_NUMBER)
    cursor.fail(
      "nested-array",
      elementOffset,
      `${key} is an array of arrays, which llama.cpp does not load. Remove the key.`,
    );
  const element = scalarTypeOf(cursor, elementNumber, elementOffset, key);
  const count = cursor.size(`the length of ${key}`);
  const offset = cursor.offset;
  if (element === "string") {
    cursor.requireRoomFor(count, 8, `strings of ${key}`);
    for (let i = 0; i < count; i++) cursor.skip(cursor.size(what), what);
  } else {
    cursor.requireRoomFor(count, SCALAR_BYTES[element], `values of ${key}`);
    cursor.skip(count * SCALAR_BYTES[element], what);
  }
  return { key, type: `${element}[]`, count, offset, bytes: cursor.offset - offset, value: undefined };
}

function scalarTypeOf(cursor: HeaderCursor, number: number, offset: number, key: string): ScalarType {
  const type = VALUE_TYPES[number];
  if (type === undefined || type === "array")
    cursor.fail(
      "bad-value-type",
      offset,
      `${key} has the value type ${number}, which GGUF does not have. Download the file again.`,
    );
  return type;
}

function parseScalar(
  cursor: HeaderCursor,
  type: ScalarType,
  what: string,
): Pick<MetadataLocation, "offset" | "bytes" | "value"> {
  const offset = cursor.offset;
  if (type !== "string") {
    const bytes = SCALAR_BYTES[type];
    return { offset, bytes, value: decodeScalar(type, cursor.bytes(bytes, what), 0) };
  }
  const length = cursor.size(`the length of ${what}`);
  let value: string | undefined;
  if (length <= EAGER_STRING_BYTES) {
    const { buffer, byteOffset, byteLength } = cursor.bytes(length, what);
    value = Buffer.from(buffer, byteOffset, byteLength).toString("utf8");
  } else cursor.skip(length, what);
  return { offset, bytes: 8 + length, value };
}

function alignmentOf(cursor: HeaderCursor, metadata: readonly MetadataLocation[]): number {
  const entry = metadata.find(({ key }) => key === ALIGNMENT_KEY);
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  const value = entry.value;
  if (entry.type !== "u32" || typeof value !== "number" || value === 0 || !Number.isInteger(Math.log2(value)))
    cursor.fail(
      "bad-alignment",
      entry.offset,
      `${ALIGNMENT_KEY} is ${value} (${entry.type}), not a power of two as u32. Convert the file again.`,
    );
  return value;
}

interface TensorInfo {
  readonly name: string;
  readonly type: GgmlType;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** From the start of the data section, as the file says. */
  readonly relativeOffset: number;
  /** Where the header says so. */
  readonly offsetField: number;
}

function parseTensorInfo(cursor: HeaderCursor, index: number): TensorInfo {
  const name = cursor.name(`the name of tensor ${index}`, MAX_TENSOR_NAME_BYTES);
  const start = cursor.offset;
  const dimensions = cursor.u32(`the number of dimensions of ${name}`);
  if (dimensions > MAX_DIMENSIONS)
    cursor.fail(
      "bad-shape",
      start,
      `${name} has ${dimensions} dimensions; ggml has at most ${MAX_DIMENSIONS}. Download the file again.`,
    );
  const shape: number[] = [];
  for (let d = 0; d < dimensions; d++) shape.push(cursor.size(`dimension ${d} of ${name}`));
  const typeOffset = cursor.offset;
  const type = cursor.u32(`the type of ${name}`);
  if (!isGgmlType(type))
    cursor.fail(
      "bad-tensor-type",
      typeOffset,
      `${name} has the tensor type ${type}, which llama.cpp v0.5.0 does not have. Convert the model with a type that it has.`,
    );
  const size = tensorSize(type, shape);
  if ("problem" in size)
    cursor.fail(
      size.reason,
      start,
      `${name} (${ggmlTypeTraits(type).name}) cannot be: ${size.problem}. Download or convert the file again.`,
    );
  const offsetField = cursor.offset;
  return { name, type, shape, bytes: size.bytes, relativeOffset: cursor.size(`the offset of ${name}`), offsetField };
}

/**
 * llama.cpp loads a file only if each tensor starts where the one before it ended, padded to the alignment (gguf.cpp,
 * end of `gguf_init_from_reader`). Holding files to the same rule excludes overlaps, gaps and misalignment at once.
 */
function placeTensors(
  cursor: HeaderCursor,
  infos: readonly TensorInfo[],
  dataOffset: number,
  alignment: number,
): TensorLocation[] {
  let expected = 0;
  return infos.map(({ name, type, shape, bytes, relativeOffset, offsetField }) => {
    if (relativeOffset !== expected)
      cursor.fail(
        "bad-tensor-offset",
        offsetField,
        `${name} should start at byte ${expected} of the data section, where the tensor before it ends, but the header says ${relativeOffset}. Download or convert the file again.`,
      );
    const offset = dataOffset + relativeOffset;
    if (offset + bytes > cursor.fileBytes)
      cursor.fail(
        "tensor-outside-file",
        offsetField,
        `${name} ends at byte ${offset + bytes}, but the file has only ${cursor.fileBytes}: it is incomplete. Download the file again.`,
      );
    expected = alignUp(relativeOffset + bytes, alignment);
    return { name, type, shape, offset, bytes };
  });
}
