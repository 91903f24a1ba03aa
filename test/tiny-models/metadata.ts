/**
 * Typed metadata values. llama.cpp refuses a key of the wrong integer width, or a float where it wants an integer, so
 * a value carries its type; these constructors keep the tables readable.
 */
import type { MetadataEntry } from "../../src/gguf/index.ts";

type WithoutKey<Entry> = Entry extends { readonly type: "copy" } ? never : Omit<Entry, "key">;

export type MetadataValue = WithoutKey<MetadataEntry>;

export type Metadata = Readonly<Record<string, MetadataValue>>;

export const u32 = (value: number): MetadataValue => ({ type: "u32", value });
export const f32 = (value: number): MetadataValue => ({ type: "f32", value });
export const bool = (value: boolean): MetadataValue => ({ type: "bool", value });
export const text = (value: string): MetadataValue => ({ type: "string", value });
export const u32s = (value: readonly number[]): MetadataValue => ({ type: "u32[]", value });
export const i32s = (value: readonly number[]): MetadataValue => ({ type: "i32[]", value });
export const f32s = (value: readonly number[]): MetadataValue => ({ type: "f32[]", value });
export const bools = (value: readonly boolean[]): MetadataValue => ({ type: "bool[]", value });
export const texts = (value: readonly string[]): MetadataValue => ({ type: "string[]", value });
