/** Values of a data page to a typed array: plain ones by copying, indexes by way of their dictionary. */
import type { Column } from "./columns.ts";
import { MalformedError } from "./compact-structs.ts";
import { decodeHybrid } from "./hybrid-decode.ts";
import { MAX_CHUNK_VALUES } from "./limits.ts";
import type { Page } from "./pages.ts";

export type ValueArray = Uint16Array | Uint32Array | Int32Array | Float32Array;
export type DataPage = Extract<Page, { kind: "data" }>;
export type DictionaryPage = Extract<Page, { kind: "dictionary" }>;

export interface NumberDictionary {
  readonly values: Int32Array | Float32Array;
  /** It is 0, 1, 2 and so on: an index is its value. */
  readonly counting: boolean;
}

const BYTES = 4;
const LARGEST = { u8: 0xff, u16: 0xffff, u32: 0xffff_ffff, f32: Number.POSITIVE_INFINITY, string: 0 };

export function numberDictionary(page: DictionaryPage, { kind }: Column): NumberDictionary {
  const values = kind === "f32" ? new Float32Array(entries(page)) : new Int32Array(entries(page));
  copyPlain(page.body, values);
  if (values instanceof Int32Array && (kind === "u8" || kind === "u16"))
    if (values.some((value) => value < 0 || value > LARGEST[kind]))
      throw new MalformedError("a number that its type cannot have");
  return { values, counting: values.every((value, i) => value === i) };
}

export function textDictionary(page: DictionaryPage): string[] {
  return plainTexts(page.body, page.entries);
}

/** `count` texts, each with its length before it. */
export function plainTexts(body: Uint8Array, count: number): string[] {
  const decoder = new TextDecoder();
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const texts: string[] = [];
  for (let at = 0; texts.length < count; ) {
    if (at + BYTES > body.length) throw new MalformedError("texts that end too early");
    const end = at + BYTES + view.getUint32(at, true);
    if (end > body.length) throw new MalformedError("texts that end too early");
    texts.push(decoder.decode(body.subarray(at + BYTES, end)));
    at = end;
  }
  return texts;
}

/** As many values as `out` has room for. */
export function decodeValues(page: DataPage, dictionary: NumberDictionary | undefined, out: ValueArray): void {
  if (!page.indexed) {
    copyPlain(page.body, out);
    return;
  }
  if (dictionary === undefined) throw new MalformedError("indexes without a dictionary");
  const { values, counting } = dictionary;
  if (out instanceof Float32Array || !counting) {
    const indexes = decodeIndexes(page.body, out.length, values.length);
    for (let i = 0; i < out.length; i++) out[i] = values[indexes[i]];
    return;
  }
  const bitWidth = page.body[0] ?? 0;
  if (out instanceof Uint16Array && bitWidth > 16) out.set(decodeIndexes(page.body, out.length, values.length));
  else {
    decodeHybrid(page.body.subarray(1), bitWidth, out, 0, out.length);
    checkBelow(out, values.length);
  }
}

/** Indexes of a page into a dictionary of `size` entries. */
export function decodeIndexes(body: Uint8Array, count: number, size: number): Uint32Array {
  const indexes = new Uint32Array(count);
  decodeHybrid(body.subarray(1), body[0] ?? 0, indexes, 0, count);
  checkBelow(indexes, size);
  return indexes;
}

function checkBelow(indexes: Uint16Array | Uint32Array | Int32Array, size: number): void {
  let largest = -1;
  for (let i = 0; i < indexes.length; i++) {
    const index = indexes[i];
    if (index > largest) largest = index;
  }
  if (largest >= size) throw new MalformedError(`index ${largest} into a dictionary of ${size}`);
}

function copyPlain(body: Uint8Array, out: ValueArray): void {
  const bytes = out.length * BYTES;
  if (bytes > body.length) throw new MalformedError("values that end too early");
  if (!(out instanceof Uint16Array)) {
    new Uint8Array(out.buffer, out.byteOffset, bytes).set(body.subarray(0, bytes));
    return;
  }
  const wide = new Uint32Array(body.slice(0, bytes).buffer);
  if (wide.some((value) => value > LARGEST.u16)) throw new MalformedError("a number that its type cannot have");
  out.set(wide);
}

function entries({ entries: count }: DictionaryPage): number {
  if (count > MAX_CHUNK_VALUES) throw new MalformedError(`a dictionary of ${count} entries`);
  return count;
}
