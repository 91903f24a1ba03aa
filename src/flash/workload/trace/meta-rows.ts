/**
 * Rows of Meta's key-value cache traces, as CacheBench replays them: a header that names the columns, of which `key`, `op` and
 * `size` must be there in any order; 202206 has `key,op,size,op_count,key_size`, 202401 has more. A row stands for `op_count`
 * events. Keys are anonymised, and `key_size` says how long they were.
 */
import { hashKey } from "../../key-hash.ts";
import { DELETE, GET, SET } from "../event-batch.ts";
import { MAX_LINE_BYTES } from "./line-cutter.ts";
import {
  findCommas,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
  operationAt,
  operationNames,
  type RowFormat,
  textOf,
  wholeNumber,
} from "./trace-row.ts";

const OPERATIONS = operationNames([
  ...["GET", "GET_LEASE"].map((name) => [name, GET] as const),
  ...["SET", "SET_LEASE"].map((name) => [name, SET] as const),
  ["DELETE", DELETE],
]);
/** Sampled rows hold thousands at most. */
const MAX_REPEATS = 2 ** 31 - 1;
const BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf";

export function metaRows(): RowFormat {
  const commas = new Int32Array(MAX_LINE_BYTES);
  let names: readonly string[] = [];
  let [keyAt, opAt, sizeAt, repeatsAt, keySizeAt] = [-1, -1, -1, -1, -1];
  return {
    header(line) {
      names = textOf(line, 0, line.length)
        .replace(BYTE_ORDER_MARK, "")
        .split(",")
        .map((name) => name.trim());
      [keyAt, opAt, sizeAt, repeatsAt, keySizeAt] = ["key", "op", "size", "op_count", "key_size"].map((name) =>
        names.indexOf(name),
      );
      const isComplete = keyAt >= 0 && opAt >= 0 && sizeAt >= 0;
      return isComplete ? undefined : "must name the columns, among them key, op and size";
    },
    read(line, row) {
      const count = findCommas(line, commas);
      // CacheBench allows a comma at the end.
      if (count + 1 < names.length || count > names.length)
        return `has ${count + 1} columns and not ${names.length} as the header`;
      const from = (column: number) => (column === 0 ? 0 : commas[column - 1] + 1);
      const to = (column: number) => (column < count ? commas[column] : line.length);
      const numberAt = (column: number, most: number) => wholeNumber(line, from(column), to(column), most);

      const keyLength = to(keyAt) - from(keyAt);
      if (keyLength === 0) return "has an empty key";
      const keyBytes = keySizeAt < 0 ? keyLength : numberAt(keySizeAt, MAX_KEY_BYTES);
      if (keyBytes < 0 || keyBytes > MAX_KEY_BYTES) return `has no key_size from 0 to ${MAX_KEY_BYTES}`;
      const valueBytes = numberAt(sizeAt, MAX_VALUE_BYTES);
      if (valueBytes < 0) return `has no size from 0 to ${MAX_VALUE_BYTES}`;
      const repeats = repeatsAt < 0 ? 1 : numberAt(repeatsAt, MAX_REPEATS);
      if (repeats < 1) return `has no op_count from 1 to ${MAX_REPEATS}`;
      const operation = operationAt(line, from(opAt), to(opAt), OPERATIONS);
      if (operation < 0) return `has an op that is unknown, "${textOf(line, from(opAt), to(opAt))}"`;
      const { low, high } = hashKey(line.subarray(from(keyAt), to(keyAt)));
      row.idLow = low;
      row.idHigh = high;
      row.operation = operation;
      row.keyBytes = keyBytes;
      row.valueBytes = valueBytes;
      row.repeats = repeats;
      return undefined;
    },
  };
}
