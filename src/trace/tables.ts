/** The two tables of a trace as Parquet columns, where their parts lie, and how a part says which trace it belongs to. */
import path from "node:path";
import type { KeyValue } from "hyparquet";
import { type Column, label, list, scalar } from "./parquet/columns.ts";
import type { TraceColumns } from "./trace.ts";

/** `routing`: a row per token and MoE layer. `tokens`: a row per token. */
export const TABLES = ["routing", "tokens"] as const;
export type TableName = (typeof TABLES)[number];

/** Columns in the order in which they lie in the file. */
export function routingColumns({ weights, probs, hiddenWidth }: TraceColumns): Column[] {
  return [
    scalar("sample", "u32"),
    label("domain"),
    scalar("position", "u32"),
    scalar("token", "u32", "nullable"),
    scalar("phase", "u8"),
    scalar("layer", "u16"),
    list("experts", "u16"),
    ...(weights ? [list("weights", "f32")] : []),
    ...(probs ? [list("probs", "f32")] : []),
    ...(hiddenWidth > 0 ? [list("hidden", "f32")] : []),
  ];
}

/** All of them are always there; what was not recorded is null. */
export const TOKEN_COLUMNS: readonly Column[] = [
  scalar("sample", "u32"),
  scalar("position", "u32"),
  scalar("token", "u32", "nullable"),
  scalar("phase", "u8"),
  scalar("batch", "u32"),
  label("domain"),
  scalar("predicted", "u32", "nullable"),
  scalar("loss", "f32", "nullable"),
];

export function partPath(directory: string, table: TableName, part: number): string {
  return path.join(directory, table, `part-${String(part).padStart(5, "0")}.parquet`);
}

/** Which trace, table and part a file is; in the key-value metadata of its footer. */
export interface PartIdentity {
  readonly trace: string;
  readonly table: TableName;
  readonly part: number;
}

const KEYS = { trace: "warmset.trace", table: "warmset.table", part: "warmset.part" } as const;

export function identityMetadata({ trace, table, part }: PartIdentity): KeyValue[] {
  return [
    { key: KEYS.trace, value: trace },
    { key: KEYS.table, value: table },
    { key: KEYS.part, value: String(part) },
  ];
}

/**
 * What does not fit in a part's metadata, in words; undefined when all does. Other programs that rewrite a part mostly lose
 * what it says of itself; then only its rows can tell whether it belongs here.
 */
export function identityMismatch(
  metadata: readonly KeyValue[] | undefined,
  { trace, table, part }: PartIdentity,
): string | undefined {
  const value = (key: string) => metadata?.find((entry) => entry.key === key)?.value;
  if (value(KEYS.trace) === undefined) return undefined;
  if (value(KEYS.trace) !== trace) return `belongs to another trace (${value(KEYS.trace)} instead of ${trace})`;
  if (value(KEYS.table) !== table) return `belongs to the table ${value(KEYS.table)}, not ${table}`;
  if (value(KEYS.part) !== String(part)) return `is part ${value(KEYS.part)} under the name of part ${part}`;
  return undefined;
}
