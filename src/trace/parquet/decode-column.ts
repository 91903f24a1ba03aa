/**
 * Column chunks to typed arrays, without an object per row. The layout that we write (lists of one length, ids whose index
 * is their value) is recognised and copied; every other is decoded number by number.
 */
import { ByteWriter } from "hyparquet-writer";
import { TraceError } from "../trace-error.ts";
import type { Column } from "./columns.ts";
import { MalformedError } from "./compact-structs.ts";
import {
  type DataPage,
  decodeIndexes,
  decodeValues,
  type NumberDictionary,
  numberDictionary,
  plainTexts,
  textDictionary,
  type ValueArray,
} from "./decode-values.ts";
import { decodeHybrid } from "./hybrid-decode.ts";
import { appendPackedHeader, appendRun, bitWidthOf, repetitionBits } from "./hybrid-encode.ts";
import type { ChunkPlace, ColumnShape, OpenParquet, RowGroupPlace } from "./open-parquet.ts";
import { pagesOf } from "./pages.ts";

/** The bytes of a column's chunk in a row group, read but not decoded yet. */
export interface ChunkBytes {
  readonly file: string;
  readonly column: Column;
  readonly shape: ColumnShape;
  readonly rows: number;
  readonly place: ChunkPlace;
  readonly bytes: Uint8Array;
}

/** The lists of a column chunk, one after another. */
export interface DecodedLists<V extends ValueArray> {
  readonly values: V;
  /** Elements of every list; undefined when they are not all the same. */
  readonly each: number | undefined;
  /** [rows + 1] Where each row's elements start, and where the last one's end; undefined when `each` says it. */
  readonly starts: Uint32Array | undefined;
}

export interface DecodedLabels {
  readonly texts: readonly string[];
  /** Into `texts`, one per row. */
  readonly indexes: Uint32Array;
}

/** @throws TraceError `wrong-column`, `wrong-count`, `corrupt-part`, and what reading throws */
export async function readChunk(file: OpenParquet, group: RowGroupPlace, column: Column): Promise<ChunkBytes> {
  const shape = shapeOf(file, column);
  const place = group.chunks.get(column.name);
  if (place === undefined)
    throw new TraceError("corrupt-part", { file: file.path }, `has rows without the column "${column.name}".`);
  if (!column.list && place.levels !== group.rows)
    throw new TraceError(
      "wrong-count",
      { file: file.path },
      `has ${place.levels} values of "${column.name}" for ${group.rows} rows: it is damaged. Copy it again.`,
    );
  return { file: file.path, column, shape, rows: group.rows, place, bytes: await file.read(place) };
}

/** One number per row into `out`; `missing` where it is null, which is an error when `missing` is not given. */
export function decodeNumbers<V extends ValueArray>(chunk: ChunkBytes, out: V, missing?: number): V {
  return explained(chunk, () => {
    let dictionary: NumberDictionary | undefined;
    let at = 0;
    for (const page of pagesOf(chunk.bytes, chunk.place, chunk.shape)) {
      if (page.kind === "dictionary") {
        dictionary = numberDictionary(page, chunk.column);
        continue;
      }
      const target = out.subarray(at, at + page.levels);
      const present = presence(page, chunk.shape);
      if (present === undefined) decodeValues(page, dictionary, target);
      else spread(page, dictionary, target, present, missing);
      at += page.levels;
    }
    return out;
  });
}

/** One text per row. */
export function decodeLabels(chunk: ChunkBytes): DecodedLabels {
  return explained(chunk, () => {
    const texts: string[] = [];
    const indexOf = new Map<string, number>();
    const indexes = new Uint32Array(chunk.rows);
    let dictionary: readonly string[] | undefined;
    let at = 0;
    for (const page of pagesOf(chunk.bytes, chunk.place, chunk.shape)) {
      if (page.kind === "dictionary") {
        dictionary = textDictionary(page);
        continue;
      }
      if (presence(page, chunk.shape) !== undefined) throw new MalformedError("a row without a value");
      const known = dictionary ?? [];
      const own = page.indexed ? known : plainTexts(page.body, page.levels);
      const into = page.indexed ? decodeIndexes(page.body, page.levels, known.length) : own.keys();
      for (const index of into) {
        const text = own[index];
        let place = indexOf.get(text);
        if (place === undefined) {
          place = texts.push(text) - 1;
          indexOf.set(text, place);
        }
        indexes[at++] = place;
      }
    }
    return { texts, indexes };
  });
}

/** One list of numbers per row. `make` makes the array for the elements of all of them. */
export function decodeLists<V extends ValueArray>(chunk: ChunkBytes, make: (length: number) => V): DecodedLists<V> {
  return explained(chunk, () => {
    const { rows, place, shape } = chunk;
    const values = make(place.levels);
    const lengths = new Uint32Array(rows);
    let dictionary: NumberDictionary | undefined;
    let row = -1;
    let filled = 0;
    for (const page of pagesOf(chunk.bytes, place, shape)) {
      if (page.kind === "dictionary") {
        dictionary = numberDictionary(page, chunk.column);
        continue;
      }
      const each = page.levels === place.levels ? uniformLength(page, rows, shape) : undefined;
      if (each !== undefined) {
        decodeValues(page, dictionary, values);
        return { values, each, starts: undefined };
      }
      const listed = countElements(page, shape, lengths, row);
      decodeValues(page, dictionary, values.subarray(filled, filled + listed.elements));
      filled += listed.elements;
      row = listed.row;
    }
    if (row + 1 !== rows) throw new MalformedError(`${row + 1} lists for ${rows} rows`);
    return { values: values.subarray(0, filled) as V, each: undefined, starts: startsOf(lengths) };
  });
}

function startsOf(lengths: Uint32Array): Uint32Array {
  const starts = new Uint32Array(lengths.length + 1);
  for (const [row, length] of lengths.entries()) starts[row + 1] = starts[row] + length;
  return starts;
}

/** The length that all lists of a page have, when its levels are written as we write them for such lists. */
function uniformLength({ levels, repetition, definition }: DataPage, rows: number, shape: ColumnShape) {
  if (repetition === undefined || definition === undefined || levels % rows !== 0) return undefined;
  if (!isOneRun(definition, shape.maxDefinition, levels)) return undefined;
  const expected = new ByteWriter(16);
  appendPackedHeader(expected, levels);
  const header = expected.getBytes();
  const bits = repetitionBits(rows, levels / rows);
  const same =
    repetition.length === header.length + bits.length &&
    Buffer.compare(repetition.subarray(0, header.length), header) === 0 &&
    Buffer.compare(repetition.subarray(header.length), bits) === 0;
  return same ? levels / rows : undefined;
}

/** Adds a page's elements to the lengths of its rows, the first of which may have begun on the page before. */
function countElements(page: DataPage, shape: ColumnShape, lengths: Uint32Array, lastRow: number) {
  const repetition = decodeLevels(page.repetition, 1, page.levels);
  const definition = decodeLevels(page.definition, shape.maxDefinition, page.levels);
  let row = lastRow;
  let elements = 0;
  for (let i = 0; i < page.levels; i++) {
    if (repetition[i] === 0) row++;
    if (row < 0 || row >= lengths.length) throw new MalformedError("more or fewer lists than rows");
    if (definition[i] === shape.maxDefinition) {
      lengths[row]++;
      elements++;
    } else if (shape.nullable && definition[i] === shape.maxDefinition - 1) {
      throw new MalformedError("a list with a null in it");
    }
  }
  return { row, elements };
}

/** 1 for each row of a page that has a value; undefined when all have. */
function presence(page: DataPage, shape: ColumnShape): Uint8Array | undefined {
  if (page.definition === undefined || isOneRun(page.definition, shape.maxDefinition, page.levels)) return undefined;
  const levels = decodeLevels(page.definition, shape.maxDefinition, page.levels);
  if (levels.every((level) => level === shape.maxDefinition)) return undefined;
  return levels.map((level) => (level === shape.maxDefinition ? 1 : 0));
}

function spread(
  page: DataPage,
  dictionary: NumberDictionary | undefined,
  target: ValueArray,
  present: Uint8Array,
  missing: number | undefined,
): void {
  if (missing === undefined) throw new MalformedError("a row without a value");
  const values = target.slice(
    0,
    present.reduce((sum, there) => sum + there, 0),
  );
  decodeValues(page, dictionary, values);
  for (let i = 0, next = 0; i < present.length; i++) target[i] = present[i] === 1 ? values[next++] : missing;
}

function decodeLevels(section: Uint8Array | undefined, largest: number, count: number): Uint8Array {
  const levels = new Uint8Array(count);
  if (section !== undefined) decodeHybrid(section, bitWidthOf(largest), levels, 0, count);
  return levels;
}

function isOneRun(section: Uint8Array, value: number, count: number): boolean {
  const expected = new ByteWriter(16);
  appendRun(expected, value, count, bitWidthOf(value));
  return Buffer.compare(section, expected.getBytes()) === 0;
}

function shapeOf(file: OpenParquet, column: Column): ColumnShape {
  const shape = file.columns.get(column.name);
  if (shape === undefined)
    throw new TraceError(
      "wrong-column",
      { file: file.path },
      `has no column "${column.name}". A part of a trace has it; copy the part again or record again.`,
    );
  const type = column.kind === "f32" ? "FLOAT" : column.kind === "string" ? "BYTE_ARRAY" : "INT32";
  const repeats = column.list ? 1 : 0;
  if (shape.type !== type || shape.maxRepetition !== repeats)
    throw new TraceError(
      "wrong-column",
      { file: file.path },
      `has "${column.name}" as ${shape.maxRepetition > 0 ? "lists of " : ""}${shape.type}, not as ${column.list ? "lists of " : ""}${type}.`,
    );
  return shape;
}

/** What goes wrong while decoding names the file and the column. */
function explained<T>({ file, column }: ChunkBytes, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError(
      "corrupt-part",
      { file },
      `the column "${column.name}" has ${(error as Error).message}. The file is damaged; copy it again or record again.`,
      error,
    );
  }
}
