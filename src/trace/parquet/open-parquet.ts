/**
 * A Parquet file that is being read: its footer, checked before anything is believed, and the bytes of column chunks. Which
 * columns a file must have, and what they mean, is for others.
 */
import fs from "node:fs/promises";
import { type FileMetaData, type KeyValue, parquetMetadata, type SchemaElement } from "hyparquet";
import { TraceError } from "../trace-error.ts";
import { MalformedError, structEnd } from "./compact-structs.ts";
import { MAX_CHUNK_BYTES, MAX_CHUNK_VALUES, MAX_FOOTER_BYTES, MAX_GROUP_ROWS } from "./limits.ts";

/** "PAR1", little-endian. */
const MAGIC = 0x31524150;
const TAIL_BYTES = 8;
const HEAD_BYTES = 4;

/** Where a column's chunk of one row group lies. */
export interface ChunkPlace {
  readonly offset: number;
  readonly bytes: number;
  readonly codec: string;
  /** Values and, in lists, places without one. */
  readonly levels: number;
}

export interface RowGroupPlace {
  readonly rows: number;
  /** By the column's name at the top level. */
  readonly chunks: ReadonlyMap<string, ChunkPlace>;
}

/** A column as the file has it. */
export interface ColumnShape {
  readonly type: string;
  /** Definition level of a value that is there. */
  readonly maxDefinition: number;
  /** 1 for lists. */
  readonly maxRepetition: number;
  /** The innermost element may be null. */
  readonly nullable: boolean;
}

export interface OpenParquet extends AsyncDisposable {
  readonly path: string;
  readonly rows: number;
  readonly columns: ReadonlyMap<string, ColumnShape>;
  readonly rowGroups: readonly RowGroupPlace[];
  readonly metadata: readonly KeyValue[] | undefined;
  /** @throws TraceError `truncated-part`, `unreadable` */
  read(chunk: ChunkPlace): Promise<Uint8Array>;
}

/** @throws TraceError `missing-part`, `unreadable`, `truncated-part`, `corrupt-part` */
export async function openParquet(path: string): Promise<OpenParquet> {
  const handle = await fs.open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT")
      throw new TraceError("missing-part", { file: path }, "is missing. Copy the whole directory again.", error);
    throw unreadable(path, error);
  });
  try {
    const size = await handle.stat().then(
      (stats) => stats.size,
      (error) => {
        throw unreadable(path, error);
      },
    );
    const footer = parseFooter(path, await readFooter(handle, path, size));
    return {
      path,
      ...placesOf(path, footer, size),
      metadata: footer.key_value_metadata,
      read: ({ offset, bytes }) => readRange(handle, path, offset, bytes),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The footer's bytes with the eight that follow it, as hyparquet wants them. */
async function readFooter(handle: fs.FileHandle, path: string, size: number): Promise<Uint8Array> {
  const truncated = (why: string) =>
    new TraceError("truncated-part", { file: path }, `${why}: it was not copied or written to its end. Copy it again.`);
  if (size < HEAD_BYTES + TAIL_BYTES) throw truncated(`has ${size} bytes only`);
  const tail = await readRange(handle, path, size - TAIL_BYTES, TAIL_BYTES);
  const view = new DataView(tail.buffer, tail.byteOffset, TAIL_BYTES);
  if (view.getUint32(4, true) !== MAGIC) throw truncated("does not end as a Parquet file does");
  const footerBytes = view.getUint32(0, true);
  if (footerBytes > size - HEAD_BYTES - TAIL_BYTES) throw truncated("is shorter than its footer says");
  if (footerBytes > MAX_FOOTER_BYTES) throw corrupt(path, `has a footer of ${footerBytes} bytes`);
  return readRange(handle, path, size - TAIL_BYTES - footerBytes, footerBytes + TAIL_BYTES);
}

function parseFooter(path: string, bytes: Uint8Array): FileMetaData {
  try {
    structEnd(bytes.subarray(0, -TAIL_BYTES), 0);
    return parquetMetadata(bytes, { geoparquet: false });
  } catch (error) {
    throw corrupt(path, `has a footer that makes no sense (${(error as Error).message})`, error);
  }
}

function placesOf(
  path: string,
  footer: FileMetaData,
  size: number,
): Pick<OpenParquet, "rows" | "columns" | "rowGroups"> {
  try {
    const columns = columnsOf(footer.schema);
    let rows = 0;
    const rowGroups = footer.row_groups.map((group) => {
      const groupRows = count(group.num_rows, MAX_GROUP_ROWS, "rows in a group");
      rows += groupRows;
      const chunks = new Map<string, ChunkPlace>();
      for (const { meta_data: facts } of group.columns) {
        if (facts === undefined) throw new MalformedError("a column chunk without a description");
        const data = count(facts.data_page_offset, size, "a data page's offset");
        // Some writers say 0 where there is no dictionary.
        const dictionary = count(facts.dictionary_page_offset ?? 0n, size, "a dictionary's offset");
        const offset = dictionary > 0 ? Math.min(dictionary, data) : data;
        const bytes = count(facts.total_compressed_size, MAX_CHUNK_BYTES, "bytes in a column chunk");
        if (offset < HEAD_BYTES || offset + bytes > size - TAIL_BYTES)
          throw new MalformedError("a column chunk outside the file");
        const levels = count(facts.num_values, MAX_CHUNK_VALUES, "values in a column chunk");
        chunks.set(String(facts.path_in_schema[0]), { offset, bytes, codec: facts.codec, levels });
      }
      return { rows: groupRows, chunks };
    });
    return { rows, columns, rowGroups };
  } catch (error) {
    throw corrupt(path, `has a footer that makes no sense: ${(error as Error).message}`, error);
  }
}

/** The columns at the top level with a single leaf each: numbers, texts, and lists of them. */
function columnsOf(schema: readonly SchemaElement[]): Map<string, ColumnShape> {
  const columns = new Map<string, ColumnShape>();
  let at = 1;
  while (at < schema.length) {
    const name = String(schema[at]?.name);
    let maxDefinition = 0;
    let maxRepetition = 0;
    let element = schema[at++];
    for (;;) {
      if (element?.repetition_type !== "REQUIRED") maxDefinition++;
      if (element?.repetition_type === "REPEATED") maxRepetition++;
      if (element?.num_children !== 1) break;
      element = schema[at++];
    }
    if (element === undefined || (element.num_children ?? 0) > 0)
      throw new MalformedError(`a column "${name}" that is neither a value nor a list of values`);
    columns.set(name, {
      type: String(element.type),
      maxDefinition,
      maxRepetition,
      nullable: element.repetition_type === "OPTIONAL",
    });
  }
  return columns;
}

async function readRange(handle: fs.FileHandle, path: string, offset: number, bytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(bytes);
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await handle.read(buffer, done, bytes - done, offset + done).catch((error) => {
      throw unreadable(path, error);
    });
    if (bytesRead === 0)
      throw new TraceError("truncated-part", { file: path }, "became shorter while it was read. Try again.");
    done += bytesRead;
  }
  return buffer;
}

/** A number of the footer, which has 64 bits. */
function count(value: bigint | undefined, largest: number, what: string): number {
  if (typeof value !== "bigint" || value < 0n || value > BigInt(largest))
    throw new MalformedError(`${value} ${what} (at most ${largest})`);
  return Number(value);
}

function unreadable(path: string, error: NodeJS.ErrnoException): TraceError {
  return new TraceError("unreadable", { file: path }, `cannot be read: ${error.message}.`, error);
}

function corrupt(path: string, what: string, cause?: unknown): TraceError {
  const sentence = `${what}. It is damaged, or no part of a trace; copy it again or record again.`;
  return new TraceError("corrupt-part", { file: path }, sentence, cause);
}
