/**
 * A Parquet file that is being written: row groups as they come, then the footer. It has a temporary name until `commit`,
 * so that its own name never shows a file that is not whole and on the disk.
 */
import fs from "node:fs/promises";
import path from "node:path";
import type { ColumnChunk, KeyValue, RowGroup } from "hyparquet";
import { ByteWriter } from "hyparquet-writer";
import { writeMetadata } from "hyparquet-writer/src/metadata.js";
import { type Column, pathOf, schemaOf } from "./columns.ts";
import type { EncodedChunk } from "./encode-column.ts";

const MAGIC = new TextEncoder().encode("PAR1");
/** Added to a file's name while it is written; no glob for Parquet files finds it. */
export const TEMPORARY = ".tmp";

export interface ParquetMark {
  readonly bytes: number;
  readonly rows: number;
  readonly rowGroups: number;
}

export class ParquetFile {
  readonly path: string;
  readonly #columns: readonly Column[];
  readonly #file: fs.FileHandle;
  readonly #rowGroups: RowGroup[] = [];
  #offset = 0;
  #rows = 0;
  #closed = false;

  /** Starts the file; one of an earlier, killed run under the temporary name is overwritten. */
  static async create(filePath: string, columns: readonly Column[]): Promise<ParquetFile> {
    const parquet = new ParquetFile(filePath, columns, await fs.open(filePath + TEMPORARY, "w"));
    try {
      await parquet.#append([MAGIC]);
    } catch (error) {
      await parquet.discard();
      throw error;
    }
    return parquet;
  }

  private constructor(filePath: string, columns: readonly Column[], file: fs.FileHandle) {
    this.path = filePath;
    this.#columns = columns;
    this.#file = file;
  }

  /** Bytes so far. */
  get bytes(): number {
    return this.#offset;
  }

  /** `chunks` in the order of the columns, all of the same `rows`. */
  async writeRowGroup(rows: number, chunks: readonly EncodedChunk[]): Promise<void> {
    const start = this.#offset;
    const columns: ColumnChunk[] = [];
    let at = start;
    for (const chunk of chunks) {
      columns.push(describeChunk(chunk, at));
      at += chunk.bytes;
    }
    await this.#append(chunks.flatMap(({ pieces }) => pieces));
    const size = BigInt(at - start);
    this.#rowGroups.push({ columns, num_rows: BigInt(rows), total_byte_size: size, total_compressed_size: size });
    this.#rows += rows;
  }

  /** A place to return to: everything up to the last row group. */
  mark(): ParquetMark {
    return { bytes: this.#offset, rows: this.#rows, rowGroups: this.#rowGroups.length };
  }

  /** Forgets all row groups behind `mark`. */
  async rollBack({ bytes, rows, rowGroups }: ParquetMark): Promise<void> {
    await this.#file.truncate(bytes);
    this.#offset = bytes;
    this.#rows = rows;
    this.#rowGroups.length = rowGroups;
  }

  /** Writes the footer and brings everything to the disk, still under the temporary name. */
  async finish(identity: readonly KeyValue[]): Promise<void> {
    const footer = new ByteWriter();
    writeMetadata(footer, {
      version: 1,
      created_by: "warmset",
      schema: schemaOf(this.#columns),
      num_rows: BigInt(this.#rows),
      row_groups: this.#rowGroups,
      key_value_metadata: [...identity],
    } as Parameters<typeof writeMetadata>[1]);
    footer.appendBytes(MAGIC);
    await this.#append([footer.getBytes()]);
    await this.#file.sync();
    await this.#close();
  }

  /** Gives the finished file its own name. */
  async commit(): Promise<void> {
    await fs.rename(this.path + TEMPORARY, this.path);
    await syncFolder(path.dirname(this.path));
  }

  /** Removes the temporary file, whatever state it is in. */
  async discard(): Promise<void> {
    await this.#close().catch(() => {});
    await fs.rm(this.path + TEMPORARY, { force: true });
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }

  async #append(pieces: readonly Uint8Array[]): Promise<void> {
    let rest = pieces.filter(({ length }) => length > 0);
    while (rest.length > 0) {
      // With its position: after `rollBack` the file's own would be behind the end.
      const { bytesWritten } = await this.#file.writev(rest, this.#offset);
      this.#offset += bytesWritten;
      rest = after(rest, bytesWritten);
    }
  }
}

/** What is left of `pieces` after the first `bytes`. */
function after(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes;
  for (const [i, piece] of pieces.entries()) {
    if (skip < piece.length) return [piece.subarray(skip), ...pieces.slice(i + 1)];
    skip -= piece.length;
  }
  return [];
}

function describeChunk(chunk: EncodedChunk, offset: number): ColumnChunk {
  const { column, type, encodings, levels, bytes, dictionaryBytes, range } = chunk;
  return {
    file_offset: 0n,
    meta_data: {
      type,
      encodings: [...encodings],
      path_in_schema: pathOf(column),
      codec: "UNCOMPRESSED",
      num_values: BigInt(levels),
      total_uncompressed_size: BigInt(bytes),
      total_compressed_size: BigInt(bytes),
      data_page_offset: BigInt(offset + dictionaryBytes),
      ...(dictionaryBytes > 0 ? { dictionary_page_offset: BigInt(offset) } : {}),
      ...(range === undefined
        ? {}
        : { statistics: { min_value: range.smallest, max_value: range.largest, null_count: 0n } }),
    },
  };
}

/** Makes a rename itself durable. Systems that cannot open folders decide on their own. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
