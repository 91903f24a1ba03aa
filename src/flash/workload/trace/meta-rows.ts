/**
 * Rows of Meta's key-value cache traces, as CacheBench replays them: a header that names the columns, of which `key`, `op` and
 * `size` must be there in any order; 202206 has `key,op,size,op_count,key_size`, 202401 has more. A row stands for `op_count`
 * events. Keys are anonymised, and `key_size` says how long they were.
 */
import { DELETE, GET, SET } from "../event-batch.ts";
import { MAX_LINE_BYTES } from "./line-cutter.ts";
import {
  type ColumnNames,
  findCommas,
  operationNames,
  type RowFormat,
  readColumns,
  type Span,
  textOf,
  wholeNumber,
} from "./trace-row.ts";

const NAMES: ColumnNames = {
  ...{ keyBytes: "key_size", valueBytes: "size", operation: "op" },
  operations: operationNames([
    ...["GET", "GET_LEASE"].map((name) => [name, GET] as const),
    ...["SET", "SET_LEASE"].map((name) => [name, SET] as const),
    ["DELETE", DELETE],
  ]),
};
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
      const spanOf = (column: number): Span => [
        column === 0 ? 0 : commas[column - 1] + 1,
        column < count ? commas[column] : line.length,
      ];
      const repeats = repeatsAt < 0 ? 1 : wholeNumber(line, ...spanOf(repeatsAt), MAX_REPEATS);
      if (repeats < 1) return `has no op_count from 1 to ${MAX_REPEATS}`;
      const spans = {
        key: spanOf(keyAt),
        keyBytes: keySizeAt < 0 ? undefined : spanOf(keySizeAt),
        valueBytes: spanOf(sizeAt),
        operation: spanOf(opAt),
      };
      const wrong = readColumns(line, row, spans, NAMES);
      if (wrong === undefined) row.repeats = repeats;
      return wrong;
    },
  };
}
