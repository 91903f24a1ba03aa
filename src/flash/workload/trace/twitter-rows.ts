/**
 * Rows of Twitter's cache traces (github.com/twitter/cache-trace): `timestamp,key,key size,value size,client,operation,TTL`, no
 * header. Keys are anonymised but keep their name spaces, and may have commas: what is behind the key is counted from the end.
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
  ...["get", "gets"].map((name) => [name, GET] as const),
  ...["set", "add", "replace", "cas", "append", "prepend", "incr", "decr"].map((name) => [name, SET] as const),
  ["delete", DELETE],
]);
const COLUMNS = 7;

export function twitterRows(): RowFormat {
  const commas = new Int32Array(MAX_LINE_BYTES);
  return {
    header: "none",
    read(line, row) {
      const count = findCommas(line, commas);
      if (count < COLUMNS - 1) return `has ${count + 1} columns and not ${COLUMNS}`;
      const keyEnd = commas[count - 5];
      const keySizeEnd = commas[count - 4];
      const valueSizeEnd = commas[count - 3];
      const clientEnd = commas[count - 2];
      const operationEnd = commas[count - 1];
      if (wholeNumber(line, 0, commas[0], Number.MAX_SAFE_INTEGER) < 0) return "has no whole number as timestamp";
      if (keyEnd === commas[0] + 1) return "has an empty key";
      const keyBytes = wholeNumber(line, keyEnd + 1, keySizeEnd, MAX_KEY_BYTES);
      if (keyBytes < 0) return `has no key size from 0 to ${MAX_KEY_BYTES}`;
      const valueBytes = wholeNumber(line, keySizeEnd + 1, valueSizeEnd, MAX_VALUE_BYTES);
      if (valueBytes < 0) return `has no value size from 0 to ${MAX_VALUE_BYTES}`;
      const operation = operationAt(line, clientEnd + 1, operationEnd, OPERATIONS);
      if (operation < 0) return `has an operation that is unknown, "${textOf(line, clientEnd + 1, operationEnd)}"`;
      // A line that the end of the file cuts off still has seven columns when it ends in the last one.
      if (wholeNumber(line, operationEnd + 1, line.length, Number.MAX_SAFE_INTEGER) < 0) return "has no TTL";
      const { low, high } = hashKey(line.subarray(commas[0] + 1, keyEnd));
      row.idLow = low;
      row.idHigh = high;
      row.operation = operation;
      row.keyBytes = keyBytes;
      row.valueBytes = valueBytes;
      row.repeats = 1;
      return undefined;
    },
  };
}
