import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StructLayoutError } from "./errors.ts";
import { checkDefaults, checkParameterStructs, checkTensorLayout } from "./layout-check.ts";
import { loadLibraries } from "./libraries.ts";
import { CONTEXT_DEFAULTS, MODEL_DEFAULTS, type StructValue } from "./structs.ts";

const { llama, ggmlBase } = loadLibraries();

describe("checkDefaults", () => {
  it("accepts what the installed library returns", () => {
    expect(() => checkParameterStructs(llama)).not.toThrow();
    checkDefaults("llama_model_params", llama.llama_model_default_params(), MODEL_DEFAULTS);
    checkDefaults("llama_context_params", llama.llama_context_default_params(), CONTEXT_DEFAULTS);
  });

  it("names the field that differs", () => {
    const returned = { ...llama.llama_context_default_params(), n_outputs_max_per_seq: 512 };
    const check = () => checkDefaults("llama_context_params", returned, CONTEXT_DEFAULTS);
    expect(check).toThrow(StructLayoutError);
    expect(check).toThrow(/llama_context_params.*n_outputs_max_per_seq is 512 instead of 1/);
  });

  it("refuses any single altered field of either struct, pointers included", () => {
    const structs: readonly (readonly [StructValue, Readonly<StructValue>])[] = [
      [llama.llama_model_default_params(), MODEL_DEFAULTS],
      [llama.llama_context_default_params(), CONTEXT_DEFAULTS],
    ];
    for (const [returned, expected] of structs) {
      expect(Object.keys(returned)).toEqual(Object.keys(expected));
      fc.assert(
        fc.property(fc.constantFrom(...Object.keys(expected)), (field) => {
          const value = expected[field];
          const altered = value === null ? 4096n : typeof value === "boolean" ? !value : Number(value) + 1;
          expect(() => checkDefaults("struct", { ...returned, [field]: altered }, expected)).toThrow(StructLayoutError);
        }),
      );
    }
  });

  it("refuses a struct whose fields slid by one", () => {
    const names = Object.keys(MODEL_DEFAULTS);
    const slid = Object.fromEntries(names.map((name, i) => [name, MODEL_DEFAULTS[names[Math.max(0, i - 1)]]]));
    expect(() => checkDefaults("llama_model_params", slid, MODEL_DEFAULTS)).toThrow(/lazy_mode/);
  });
});

describe("checkTensorLayout", () => {
  it("finds a real tensor's fields at our offsets", () => {
    expect(() => checkTensorLayout(ggmlBase)).not.toThrow();
  });
});
