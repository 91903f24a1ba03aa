/**
 * Writes GGUF files, in bounded memory whatever the tensors' size: adapters, models derived from another model, tiny
 * models for tests. What it writes, llama.cpp and `openGguf` read; it quantises nothing.
 */
import { type FileSink, writeFileAtomically } from "./atomic-file.ts";
import { encodeName, u32, u64 } from "./encode.ts";
import { GgufError } from "./errors.ts";
import { type GgmlType, tensorSize } from "./ggml-types.ts";
import { ALIGNMENT_KEY, alignUp, DEFAULT_ALIGNMENT } from "./header.ts";
import { MAX_DIMENSIONS, MAX_TENSOR_NAME_BYTES } from "./limits.ts";
import { encodeEntry, type MetadataEntry } from "./metadata-entry.ts";

export interface TensorSource {
  /** 1 to 63 bytes of UTF-8. */
  readonly name: string;
  readonly type: GgmlType;
  /** ggml's ne order: ne0, the length of a row, first. */
  readonly shape: readonly number[];
  /**
   * The tensor's bytes in the type's own layout, or a function that yields them in pieces (any sizes; a piece's buffer
   * may be used again for the next piece). Together exactly as many bytes as type and shape say.
   */
  readonly data: Uint8Array | (() => Iterable<Uint8Array>);
}

export interface GgufContent {
  /** Without `general.alignment`, which is `alignment`. llama.cpp wants `general.architecture` in a model. */
  readonly metadata: readonly MetadataEntry[];
  readonly tensors: readonly TensorSource[];
  /** A power of two. Default 32, GGUF's own default. */
  readonly alignment?: number;
  /** Default 3. */
  readonly version?: 2 | 3;
}

export interface WriteProgress {
  /** Tensor bytes written so far, and in all. */
  readonly writtenBytes: number;
  readonly totalBytes: number;
}

export interface WriteGgufOptions {
  /** Ends the writing and removes what was written. Default: runs to the end. */
  readonly signal?: AbortSignal;
  /** Called after each piece of tensor data. Default: nobody is told. */
  readonly onProgress?: (progress: WriteProgress) => void;
}

/**
 * Replaces `path` if it exists, and only once the new file is whole and synced.
 * @throws GgufError `bad-value`, `bad-name`, `bad-shape`, `bad-alignment`, `duplicate-*` or `unwritable`, and the
 *   signal's reason if it aborts.
 */
export async function writeGguf(path: string, content: GgufContent, options: WriteGgufOptions = {}): Promise<void> {
  const { metadata, tensors, alignment = DEFAULT_ALIGNMENT, version = 3 } = content;
  const entries = withAlignment(path, metadata, alignment);
  const tensorBytes = checkedSizes(path, tensors);
  const totalBytes = tensorBytes.reduce((sum, bytes) => sum + bytes, 0);
  options.signal?.throwIfAborted();

  await writeFileAtomically(path, async (sink) => {
    await sink.append(Buffer.concat([Buffer.from("GGUF"), u32(version), u64(tensors.length), u64(entries.length)]));
    for (const entry of entries) for (const piece of encodeEntry(entry, path)) await sink.append(piece);
    let offset = 0;
    for (let i = 0; i < tensors.length; i++) {
      await sink.append(tensorInfo(tensors[i], offset, path));
      offset = alignUp(offset + tensorBytes[i], alignment);
    }
    if (tensors.length > 0) await pad(sink, alignment);
    let writtenBytes = 0;
    for (let i = 0; i < tensors.length; i++) {
      for (const piece of exactly(tensorBytes[i], tensors[i], path)) {
        options.signal?.throwIfAborted();
        await sink.append(piece);
        writtenBytes += piece.length;
        options.onProgress?.({ writtenBytes, totalBytes });
      }
      await pad(sink, alignment);
    }
    options.signal?.throwIfAborted();
  });
}

function withAlignment(path: string, metadata: readonly MetadataEntry[], alignment: number): readonly MetadataEntry[] {
  if (!Number.isInteger(Math.log2(alignment)) || alignment < 1 || alignment > 2 ** 31)
    throw new GgufError(
      "bad-alignment",
      path,
      undefined,
      `the alignment ${alignment} is not a power of two up to 2^31.`,
    );
  const keys = new Set<string>();
  for (const { key } of metadata) {
    if (key === ALIGNMENT_KEY)
      throw new GgufError(
        "bad-alignment",
        path,
        undefined,
        `${ALIGNMENT_KEY} is set by the writer; give it as "alignment".`,
      );
    if (keys.has(key)) throw new GgufError("duplicate-key", path, undefined, `the metadata key ${key} is given twice.`);
    keys.add(key);
  }
  return alignment === DEFAULT_ALIGNMENT
    ? metadata
    : [...metadata, { key: ALIGNMENT_KEY, type: "u32", value: alignment }];
}

function checkedSizes(path: string, tensors: readonly TensorSource[]): number[] {
  const names = new Set<string>();
  return tensors.map(({ name, type, shape }) => {
    if (names.has(name)) throw new GgufError("duplicate-tensor", path, undefined, `the tensor ${name} is given twice.`);
    names.add(name);
    if (shape.length > MAX_DIMENSIONS || !shape.every((length) => Number.isSafeInteger(length) && length >= 0))
      throw new GgufError(
        "bad-shape",
        path,
        undefined,
        `${name}: [${shape.join(", ")}] is not a shape of up to ${MAX_DIMENSIONS} whole numbers.`,
      );
    const size = tensorSize(type, shape);
    if ("problem" in size) throw new GgufError(size.reason, path, undefined, `${name}: ${size.problem}.`);
    return size.bytes;
  });
}

/** Where a tensor lies is told from the start of the data section, so the header's own length does not matter. */
function tensorInfo({ name, type, shape }: TensorSource, offset: number, path: string): Uint8Array {
  const lengths = shape.map((length) => u64(length));
  return Buffer.concat([
    encodeName(name, MAX_TENSOR_NAME_BYTES, path),
    u32(shape.length),
    ...lengths,
    u32(type),
    u64(offset),
  ]);
}

/** The pieces of a tensor's data, held to the number of bytes that its place in the file has. */
function* exactly(bytes: number, { name, data }: TensorSource, path: string): Generator<Uint8Array, void, undefined> {
  let given = 0;
  for (const piece of data instanceof Uint8Array ? [data] : data()) {
    given += piece.length;
    if (given > bytes) break;
    yield piece;
  }
  if (given !== bytes)
    throw new GgufError(
      "bad-value",
      path,
      undefined,
      `${name}: its type and shape need ${bytes} bytes of data, but ${given > bytes ? "more" : `only ${given}`} were given.`,
    );
}

async function pad(sink: FileSink, alignment: number): Promise<void> {
  for (let missing = alignUp(sink.offset, alignment) - sink.offset; missing > 0; ) {
    const zeros = Buffer.alloc(Math.min(missing, 65_536));
    await sink.append(zeros);
    missing -= zeros.length;
  }
}
