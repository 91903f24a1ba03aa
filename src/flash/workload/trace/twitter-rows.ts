/**
 * Rows of Twitter's cache traces (github.com/twitter/cache-trace): `timestamp,key,key size,value size,client,operation,TTL`, no
 * header. Keys are anonymised but keep their name spaces, and may have commas: what is behind the key is counted from the end.
 */
import { DELETE, GET, SET } from "../event-batch.ts";
import { MAX_LINE_BYTES } from "./line-cutter.ts";
import { type ColumnNames, findCommas, operationNames, type RowFormat, readColumns, wholeNumber } from "./trace-row.ts";

const NAMES: ColumnNames = {
  ...{ keyBytes: "key size", valueBytes: "value size", operation: "operation" },
  operations: operationNames([
    ...["get", "gets"].map((name) => [name, GET] as const),
    ...["set", "add", "replace", "cas", "append", "prepend", "incr", "decr"].map((name) => [name, SET] as const),
    ["delete", DELETE],
  ]),
};
const COLUMNS = 7;

export function twitterRows(): RowFormat {
  const commas = new Int32Array(MAX_LINE_BYTES);
  return {
    header: "none",
    read(line, row) {
      const count = findCommas(line, commas);
      if (count < COLUMNS - 1) return `has ${count + 1} columns and not ${COLUMNS}`;
      const operationEnd = commas[count - 1];
      if (wholeNumber(line, 0, commas[0], Number.MAX_SAFE_INTEGER) < 0) return "has no whole number as timestamp";
      // A line that the end of the file cuts off still has seven columns when it ends in the last one.
      if (wholeNumber(line, operationEnd + 1, line.length, Number.MAX_SAFE_INTEGER) < 0) return "has no TTL";
      const spans = {
        key: [commas[0] + 1, commas[count - 5]],
        keyBytes: [commas[count - 5] + 1, commas[count - 4]],
        valueBytes: [commas[count - 4] + 1, commas[count - 3]],
        operation: [commas[count - 2] + 1, operationEnd],
      } as const;
      return readColumns(line, row, spans, NAMES);
    },
  };
}
