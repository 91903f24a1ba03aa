/**
 * The few kinds of Parquet columns that traces are made of, and their schema elements. Only "converted types" say what the
 * integers are: older readers know no others, and newer ones still honour them.
 */
import type { SchemaElement } from "hyparquet";

interface ColumnOf<Kind extends string> {
  readonly name: string;
  readonly kind: Kind;
}

/** `nullable` columns have rows without a value; all others, and what is inside lists, always have one. */
export type Column =
  | (ColumnOf<"u8" | "u16" | "u32" | "f32"> & { readonly list: boolean; readonly nullable: boolean })
  | (ColumnOf<"string"> & { readonly list: false; readonly nullable: false });

export function scalar(name: string, kind: "u8" | "u16" | "u32", nullable?: "nullable"): Column;
export function scalar(name: string, kind: "f32", nullable: "nullable"): Column;
export function scalar(name: string, kind: "u8" | "u16" | "u32" | "f32", nullable?: "nullable"): Column {
  return { name, kind, list: false, nullable: nullable !== undefined };
}

export function list(name: string, kind: "u16" | "f32"): Column {
  return { name, kind, list: true, nullable: false };
}

/** Strings of which few are different. */
export function label(name: string): Column {
  return { name, kind: "string", list: false, nullable: false };
}

const UNSIGNED = { u8: "UINT_8", u16: "UINT_16", u32: "UINT_32" } as const;

export function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [{ name: "warmset_trace", num_children: columns.length }, ...columns.flatMap(elementsOf)];
}

/** Names from the root to the values. */
export function pathOf(column: Column): string[] {
  return column.list ? [column.name, "list", "element"] : [column.name];
}

function elementsOf(column: Column): SchemaElement[] {
  const { name, kind, list: isList, nullable } = column;
  const leaf: SchemaElement = {
    name: isList ? "element" : name,
    repetition_type: nullable ? "OPTIONAL" : "REQUIRED",
    ...leafType(kind),
  };
  if (!isList) return [leaf];
  return [
    { name, repetition_type: "REQUIRED", num_children: 1, converted_type: "LIST" },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    leaf,
  ];
}

function leafType(kind: Column["kind"]): Pick<SchemaElement, "type" | "converted_type"> {
  if (kind === "f32") return { type: "FLOAT" };
  if (kind === "string") return { type: "BYTE_ARRAY", converted_type: "UTF8" };
  return { type: "INT32", converted_type: UNSIGNED[kind] };
}
