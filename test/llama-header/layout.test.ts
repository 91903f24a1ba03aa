/**
 * Compares our koffi structs, enums and function prototypes with the headers of exactly the llama.cpp that ships. This is
 * the only place where a wrong parameter type would be noticed before it corrupts memory.
 */
import koffi, { type TypeObject } from "koffi";
import { describe, expect, it } from "vitest";
import { GGML_BASE_PROTOTYPES, GGML_PROTOTYPES, LLAMA_PROTOTYPES } from "../../src/llama/functions.ts";
import * as structs from "../../src/llama/structs.ts";
import { CHeader, type CStruct, type CType } from "./c-declarations.ts";
import { obtainHeaders } from "./headers.ts";

const headers = obtainHeaders();

if (!headers.available) {
  console.warn(`\n*** SKIPPED: struct layouts are NOT checked against llama.h: ${headers.reason}\n`);
  it.runIf(/^(true|1)$/.test(process.env.CI ?? ""))("has the headers to check against", () => {
    throw new Error(headers.reason);
  });
}

const STRUCTS: readonly TypeObject[] = Object.values(structs).filter(
  (value): value is TypeObject => typeof value === "object" && "primitive" in value && value.primitive === "Record",
);

describe.skipIf(!headers.available)("llama.h and ggml.h of the shipped libraries", () => {
  const header = headers.available
    ? new CHeader(headers.text.ggml, headers.text.backend, headers.text.llama)
    : new CHeader();

  it("finds all structs to check", () => {
    expect(STRUCTS.map((type) => type.name)).toEqual([
      "llama_model_params",
      "llama_context_params",
      "llama_batch",
      "llama_sampler_chain_params",
      "llama_token_data",
      "llama_token_data_array",
      "llama_logit_bias",
      "llama_perf_context_data",
      "ggml_init_params",
      "ggml_type_traits",
      "ggml_tensor",
    ]);
  });

  it.each(STRUCTS.map((type) => [type.name, type] as const))("struct %s", (name, type) => {
    expect(ours(type)).toEqual(theirs(header.struct(name)));
  });

  it("notices a field that was inserted, moved or retyped", () => {
    const name = "llama_model_params";
    const real = theirs(header.struct(name));
    const type = koffi.type(name);
    const change = (edit: (text: string) => string) =>
      theirs(new CHeader(headers.available ? edit(headers.text.llama) : "").struct(name));
    expect(change((text) => text)).toEqual(ours(type));
    expect(change((text) => text.replace("bool vocab_only;", "bool vocab_only; bool vocab_too;"))).not.toEqual(real);
    expect(change((text) => text.replace("int32_t main_gpu;", "int64_t main_gpu;"))).not.toEqual(real);
    expect(change((text) => text.replace("bool load_mtp;", ""))).not.toEqual(real);
  });

  /** Ours, read like a header. `uintptr_t` stands for a pointer that is wanted as a number. */
  const read = (prototype: string) => {
    const match = /^(.*?[\s*])(\w+)\((.*)\)$/.exec(prototype.replaceAll("uintptr_t", "void *"));
    if (match === null) throw new Error(`Cannot read ${prototype}`);
    return { name: match[2], signature: header.signature(match[1], match[3]) };
  };
  const functions = { ...LLAMA_PROTOTYPES, ...GGML_BASE_PROTOTYPES, ...GGML_PROTOTYPES };

  it.each(Object.entries(functions))("function %s", (name, prototype) => {
    expect(read(prototype)).toEqual({ name, signature: header.function(name) });
  });

  it.each(structs.CALLBACK_PROTOTYPES)("callback %s", (prototype) => {
    const { name, signature } = read(prototype);
    expect(signature).toEqual(header.callback(name));
  });

  it("enums", () => {
    const check = (name: string, prefix: string, mine: Readonly<Record<string, number>>) => {
      const real = header.enumeration(name);
      for (const [member, value] of Object.entries(mine))
        expect([member, real.get(prefix + member)]).toEqual([member, value]);
    };
    check("ggml_type", "GGML_TYPE_", { ...structs.GgmlType, COUNT: structs.GGML_TYPE_COUNT });
    check("llama_load_mode", "LLAMA_LOAD_MODE_", structs.LoadMode);
    check("llama_lazy_mode", "LLAMA_LAZY_MODE_", structs.LazyMode);
    check("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_", structs.FlashAttention);
  });
});

interface Layout {
  readonly fields: readonly (readonly [name: string, type: string, offset: number])[];
  readonly bytes: number;
}

function theirs(struct: CStruct): Layout {
  return { fields: struct.fields.map((f) => [f.name, describeType(f.type), f.offset]), bytes: struct.bytes };
}

function describeType(type: CType): string {
  switch (type.kind) {
    case "scalar":
      return type.name;
    case "pointer":
      return "Pointer";
    case "struct":
      return type.name;
    case "array":
      return `${describeType(type.of)}[${type.length}]`;
  }
}

function ours(type: TypeObject): Layout {
  const fields = Object.values(type.members ?? {}).map(
    (member) => [member.name, describeKoffi(member.type), koffi.offsetof(type, member.name)] as const,
  );
  return { fields, bytes: koffi.sizeof(type) };
}

function describeKoffi(type: TypeObject): string {
  if (type.primitive === "Array" && type.ref !== undefined) return `${describeKoffi(type.ref)}[${type.length}]`;
  return type.primitive === "String" ? "Pointer" : type.primitive;
}
