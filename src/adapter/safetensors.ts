/**
 * The safetensors format, as far as float32 tensors need it: eight bytes of length, a JSON header, the data. Files come from
 * strangers, so no size of theirs is believed before it was held against the file's.
 */
import fs from "node:fs";
import { writeFileAtomically } from "../gguf/atomic-file.ts";
import { readFileRange } from "../gguf/file-range.ts";
import { AdapterError } from "./errors.ts";

export interface FloatTensor {
  readonly name: string;
  /** Rows first, as in NumPy. */
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, FloatTensor>;
}

/** Routers of a large model make headers of some 20 kB; a report may be longer. */
const MAX_HEADER_BYTES = 16 * 2 ** 20;
const LENGTH_BYTES = 8;

/** Replaces `path`, once the new file is whole and synced. @throws GgufError `unwritable` */
export async function writeSafetensors(
  path: string,
  metadata: Readonly<Record<string, string>>,
  tensors: readonly FloatTensor[],
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + values.byteLength] };
    end += values.byteLength;
  }
  // Data starts at a multiple of eight, as the format's own writer has it.
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(text.length / LENGTH_BYTES) * LENGTH_BYTES, " ");
  text.copy(padded);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64LE(BigInt(padded.length));
  await writeFileAtomically(path, async (sink) => {
    await sink.append(length);
    await sink.append(padded);
    for (const { values } of tensors)
      await sink.append(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  });
}

/** @throws AdapterError `damaged`, or `unsupported` for other types than F32; GgufError for a file that cannot be read */
export function readSafetensors(path: string): Safetensors {
  const damaged = (sentence: string, cause?: unknown) =>
    new AdapterError("damaged", path, `${sentence}. Copy or download the file again.`, { cause });
  const fileBytes = fs.statSync(path).size;
  if (fileBytes < LENGTH_BYTES) throw damaged(`the file has ${fileBytes} bytes, which is no safetensors file`);
  const headerBytes = Number(readFileRange(path, 0, LENGTH_BYTES).readBigUInt64LE());
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > fileBytes - LENGTH_BYTES)
    throw damaged(
      `its header would have ${headerBytes} bytes, but the file has ${fileBytes}; it is cut off or no safetensors file`,
    );
  let header: unknown;
  try {
    header = JSON.parse(readFileRange(path, LENGTH_BYTES, headerBytes).toString("utf8"));
  } catch (error) {
    throw damaged("its header is no JSON", error);
  }
  if (!isRecord(header)) throw damaged("its header is no object");

  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === "string"))
    throw damaged("its metadata is not a table of texts");
  const dataStart = LENGTH_BYTES + headerBytes;
  const places = Object.entries(entries).map(([name, entry]) => {
    const place = placeOf(entry);
    if (place === undefined) throw damaged(`what its header says of ${JSON.stringify(name)} makes no sense`);
    if (place.dtype !== "F32")
      throw new AdapterError("unsupported", path, `${name} is ${place.dtype}; routers are F32. Convert it to float32.`);
    return { name, ...place };
  });
  places.sort((a, b) => a.start - b.start);
  let end = 0;
  for (const { name, start, end: next } of places) {
    if (start !== end) throw damaged(`there is a gap or an overlap before ${name}`);
    end = next;
  }
  if (dataStart + end !== fileBytes) throw damaged(`it should have ${dataStart + end} bytes but has ${fileBytes}`);
  const tensors = new Map<string, FloatTensor>();
  for (const { name, shape, start, end } of places) {
    // A copy, because a buffer of bytes need not lie at a multiple of four.
    const bytes = Uint8Array.from(readFileRange(path, dataStart + start, end - start));
    tensors.set(name, { name, shape, values: new Float32Array(bytes.buffer) });
  }
  return { metadata: metadata as Record<string, string>, tensors };
}

interface Place {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** Undefined for what contradicts itself; offsets are still to be held against the file. */
function placeOf(entry: unknown): Place | undefined {
  if (!isRecord(entry)) return undefined;
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) return undefined;
  const [start, end] = offsets;
  const count = shape.reduce((product, length) => product * length, 1);
  if (dtype === "F32" && end - start !== count * 4) return undefined;
  return { dtype, shape, start, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
