/**
 * The pages of one column chunk: headers checked, bodies uncompressed, levels and values apart. Versions 1 and 2 of data
 * pages, without compression or with snappy: what we, DuckDB, pyarrow and hyparquet-writer write by default.
 */
import { type PageHeader, snappyUncompress } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { MalformedError, structEnd } from "./compact-structs.ts";
import { MAX_SNAPPY_RATIO } from "./limits.ts";
import type { ChunkPlace, ColumnShape } from "./open-parquet.ts";

export type Page =
  | { readonly kind: "dictionary"; readonly entries: number; readonly body: Uint8Array }
  | {
      readonly kind: "data";
      /** Values and places without one. */
      readonly levels: number;
      /** Encoded levels; undefined where the column has none. */
      readonly repetition: Uint8Array | undefined;
      readonly definition: Uint8Array | undefined;
      /** The body holds indexes into the dictionary, else plain values. */
      readonly indexed: boolean;
      readonly body: Uint8Array;
    };

/** @throws MalformedError */
export function* pagesOf(bytes: Uint8Array, { codec, levels }: ChunkPlace, shape: ColumnShape): Iterable<Page> {
  let seen = 0;
  for (let offset = 0; seen < levels; ) {
    const bodyStart = structEnd(bytes, offset);
    const header = parquetHeader({ view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset });
    const end = bodyStart + size(header.compressed_page_size);
    if (end > bytes.length) throw new MalformedError("a page that ends behind its column chunk");
    const page = pageOf(header, bytes.subarray(bodyStart, end), codec, shape);
    offset = end;
    if (page === undefined) continue;
    if (page.kind === "data") seen += page.levels;
    if (seen > levels) throw new MalformedError("more values in pages than in their column chunk");
    yield page;
  }
}

/** Undefined for pages that hold no values, such as indexes. */
function pageOf(header: PageHeader, bytes: Uint8Array, codec: string, shape: ColumnShape): Page | undefined {
  if (header.type === "DICTIONARY_PAGE" && header.dictionary_page_header !== undefined) {
    const body = uncompressed(bytes, codec, size(header.uncompressed_page_size));
    return { kind: "dictionary", entries: size(header.dictionary_page_header.num_values), body };
  }
  if (header.type === "DATA_PAGE" && header.data_page_header !== undefined) {
    const { num_values, encoding } = header.data_page_header;
    let body = uncompressed(bytes, codec, size(header.uncompressed_page_size));
    const section = () => {
      const length = body.length < 4 ? body.length : new DataView(body.buffer, body.byteOffset).getUint32(0, true);
      if (4 + length > body.length) throw new MalformedError("levels that are longer than their page");
      const levels = body.subarray(4, 4 + length);
      body = body.subarray(4 + length);
      return levels;
    };
    const repetition = shape.maxRepetition > 0 ? section() : undefined;
    const definition = shape.maxDefinition > 0 ? section() : undefined;
    return { kind: "data", levels: positive(num_values), repetition, definition, indexed: isIndexed(encoding), body };
  }
  if (header.type === "DATA_PAGE_V2" && header.data_page_header_v2 !== undefined) {
    const facts = header.data_page_header_v2;
    const repetitionEnd = size(facts.repetition_levels_byte_length);
    const definitionEnd = repetitionEnd + size(facts.definition_levels_byte_length);
    if (definitionEnd > bytes.length) throw new MalformedError("levels that are longer than their page");
    const rest = bytes.subarray(definitionEnd);
    const restSize = size(header.uncompressed_page_size) - definitionEnd;
    return {
      kind: "data",
      levels: positive(facts.num_values),
      repetition: shape.maxRepetition > 0 ? bytes.subarray(0, repetitionEnd) : undefined,
      definition: shape.maxDefinition > 0 ? bytes.subarray(repetitionEnd, definitionEnd) : undefined,
      indexed: isIndexed(facts.encoding),
      body: facts.is_compressed === false ? rest : uncompressed(rest, codec, size(restSize)),
    };
  }
  if (header.type === "INDEX_PAGE") return undefined;
  throw new MalformedError("a page of unknown type");
}

function isIndexed(encoding: string | undefined): boolean {
  if (encoding === "PLAIN") return false;
  if (encoding === "RLE_DICTIONARY" || encoding === "PLAIN_DICTIONARY") return true;
  throw new MalformedError(`the encoding ${encoding}, which warmset does not read (plain and dictionary only)`);
}

function uncompressed(bytes: Uint8Array, codec: string, size: number): Uint8Array {
  if (codec === "UNCOMPRESSED" || bytes.length === 0) return bytes;
  if (codec !== "SNAPPY")
    throw new MalformedError(`the compression ${codec}, which warmset does not read (snappy or none only)`);
  if (size > bytes.length * MAX_SNAPPY_RATIO + 64) throw new MalformedError("a page that claims too many bytes");
  const output = new Uint8Array(size);
  snappyUncompress(bytes, output);
  return output;
}

function size(value: number | undefined): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new MalformedError(`a length of ${value}`);
  return value as number;
}

/** A data page without values would not bring its reader further. */
function positive(value: number | undefined): number {
  if (size(value) === 0) throw new MalformedError("an empty data page");
  return value as number;
}
