/** A row of a trace, and the parts of its line that both formats have in common. */
import { hashKey } from "../../key-hash.ts";

/** What a row says; one object is used for all rows. */
export interface TraceRow {
  idLow: number;
  idHigh: number;
  operation: number;
  keyBytes: number;
  valueBytes: number;
  /** How often this event came in a row. */
  repeats: number;
}

/** Reads the lines of one format. */
export interface RowFormat {
  /** Whether the first line names the columns; what is wrong with it when it does not do so as it must. */
  readonly header: "none" | ((line: Uint8Array) => string | undefined);
  /** What is wrong with the line; undefined when `row` was filled from it. */
  read(line: Uint8Array, row: TraceRow): string | undefined;
}

/** Caches keep keys of at most 250 bytes (memcached) or 255 (CacheLib); a trace may go a little further. */
export const MAX_KEY_BYTES = 1024;
/** Memcached's largest value is 1 MiB by default, and a few MiB where it is raised. */
const MAX_VALUE_BYTES = 2 ** 30;

const COMMA = 0x2c;
const ZERO = 0x30;

/** Writes where the line's commas are. How many there are: more than `commas` holds are counted and not written. */
export function findCommas(line: Uint8Array, commas: Int32Array): number {
  let count = 0;
  for (let i = 0; i < line.length; i++) if (line[i] === COMMA) commas[count++] = i;
  return count;
}

/** A number of digits alone; -1 when it is none or above `most`. */
export function wholeNumber(line: Uint8Array, from: number, to: number, most: number): number {
  if (from >= to) return -1;
  let number = 0;
  for (let i = from; i < to; i++) {
    const digit = line[i] - ZERO;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
    if (number > most) return -1;
  }
  return number;
}

/** What an operation's name stands for, and its bytes. */
export type OperationNames = readonly (readonly [Uint8Array, number])[];

/** @param names in the order of how often they are met: they are tried one by one, which is faster than to make a string */
export function operationNames(names: readonly (readonly [string, number])[]): OperationNames {
  return names.map(([name, operation]) => [Buffer.from(name), operation] as const);
}

/** -1 when it is none of the names. */
function operationAt(line: Uint8Array, from: number, to: number, names: OperationNames): number {
  for (const [name, operation] of names) {
    if (name.length !== to - from) continue;
    let i = 0;
    while (i < name.length && line[from + i] === name[i]) i++;
    if (i === name.length) return operation;
  }
  return -1;
}

/** A column of a line: bytes `from` up to, and without, `to`. */
export type Span = readonly [from: number, to: number];

/** What a format calls the columns that all formats have, in messages, and what its operations are. */
export interface ColumnNames {
  readonly keyBytes: string;
  readonly valueBytes: string;
  readonly operation: string;
  readonly operations: OperationNames;
}

/** Where these columns lie in a line. Without `keyBytes` the key is as long as it stands there. */
export interface ColumnSpans {
  readonly key: Span;
  readonly keyBytes: Span | undefined;
  readonly valueBytes: Span;
  readonly operation: Span;
}

/** Fills `row`, for one event. What is wrong with the line; undefined when nothing is, and the row is untouched otherwise. */
export function readColumns(
  line: Uint8Array,
  row: TraceRow,
  spans: ColumnSpans,
  names: ColumnNames,
): string | undefined {
  const [keyFrom, keyTo] = spans.key;
  if (keyFrom === keyTo) return "has an empty key";
  const keyBytes = spans.keyBytes === undefined ? keyTo - keyFrom : wholeNumber(line, ...spans.keyBytes, MAX_KEY_BYTES);
  if (keyBytes < 0 || keyBytes > MAX_KEY_BYTES) return `has no ${names.keyBytes} from 0 to ${MAX_KEY_BYTES}`;
  const valueBytes = wholeNumber(line, ...spans.valueBytes, MAX_VALUE_BYTES);
  if (valueBytes < 0) return `has no ${names.valueBytes} from 0 to ${MAX_VALUE_BYTES}`;
  const operation = operationAt(line, ...spans.operation, names.operations);
  if (operation < 0) return `has an ${names.operation} that is unknown, "${textOf(line, ...spans.operation)}"`;
  const { low, high } = hashKey(line.subarray(keyFrom, keyTo));
  row.idLow = low;
  row.idHigh = high;
  row.operation = operation;
  row.keyBytes = keyBytes;
  row.valueBytes = valueBytes;
  row.repeats = 1;
  return undefined;
}

/** For messages and headers. */
export function textOf(line: Uint8Array, from: number, to: number): string {
  return Buffer.from(line.buffer, line.byteOffset + from, Math.max(0, to - from)).toString("latin1");
}
