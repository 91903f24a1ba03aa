/** Known answers of the authors' own functions, confirmed by two independent implementations; see the file's origin. */
import { readFileSync } from "node:fs";
import { sequenceOf } from "./traces.test-data.ts";

interface GoldenCase {
  readonly E: number;
  readonly k: number;
  readonly T: number;
  readonly topk: readonly (readonly number[])[];
  readonly lru: readonly number[];
  readonly lfu: readonly number[];
  readonly belady: readonly number[];
  readonly sch: Readonly<Record<string, readonly number[]>>;
  readonly srp: Readonly<
    Record<string, { readonly hist: readonly number[]; F1: number; alpha: number; rho: number; act_r: number }>
  >;
}

export const goldenCases = (
  JSON.parse(readFileSync(new URL("../../test/locality/golden.json", import.meta.url), "utf8")) as GoldenCase[]
).map((golden) => ({
  ...golden,
  name: `E=${golden.E} k=${golden.k} T=${golden.T}`,
  sequence: sequenceOf(golden.E, golden.topk),
}));

/** By hand: tokens that use expert 0, 0, 1, 0, 2, 0 of three. */
export const workedExample = sequenceOf(3, [[0], [0], [1], [0], [2], [0]]);
