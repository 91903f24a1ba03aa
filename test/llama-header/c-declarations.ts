/**
 * Reads struct, enum and function declarations out of C headers, far enough for llama.h and ggml.h and no further: no
 * bit fields, no nested structs, no function pointers as fields. Layouts follow the LP64 rules of Linux and macOS.
 */

/** A scalar kind as koffi names it, or a pointer, an array or a struct by value. */
export type CType =
  | { readonly kind: "scalar"; readonly name: string }
  | { readonly kind: "pointer" }
  | { readonly kind: "struct"; readonly name: string }
  | { readonly kind: "array"; readonly of: CType; readonly length: number };

export interface CField {
  readonly name: string;
  readonly type: CType;
  readonly offset: number;
}

export interface CStruct {
  readonly fields: readonly CField[];
  readonly bytes: number;
}

export interface CFunction {
  readonly result: CType | "void";
  readonly parameters: readonly CType[];
}

const SCALARS: Readonly<Record<string, string>> = {
  bool: "Bool",
  char: "Int8",
  int8_t: "Int8",
  uint8_t: "UInt8",
  int: "Int32",
  int32_t: "Int32",
  uint32_t: "UInt32",
  int64_t: "Int64",
  uint64_t: "UInt64",
  size_t: "UInt64",
  uintptr_t: "UInt64",
  float: "Float32",
  double: "Float64",
};

const SCALAR_BYTES: Readonly<Record<string, number>> = {
  Bool: 1,
  Int8: 1,
  UInt8: 1,
  Int32: 4,
  UInt32: 4,
  Int64: 8,
  UInt64: 8,
  Float32: 4,
  Float64: 8,
};

export class CHeader {
  readonly #text: string;
  readonly #typedefs = new Map<string, CType>();
  readonly #defines = new Map<string, number>();

  constructor(...sources: readonly string[]) {
    const all = sources.join("\n");
    this.#text = all
      .replace(/\/\*[\s\S]*?\*\//g, " ")
      .replace(/\/\/[^\n]*/g, "")
      .replace(/#[^\n]*(\\\n[^\n]*)*/g, (line) => {
        const define = /^#\s*define\s+(\w+)\s+(\d+)\s*$/.exec(line);
        if (define !== null) this.#defines.set(define[1], Number(define[2]));
        return "";
      });
    // typedef bool (*name)(...), typedef struct x * name, typedef int32_t name
    for (const [, name] of this.#text.matchAll(/typedef\s+[\w\s*]+\(\s*\*\s*(\w+)\s*\)\s*\(/g)) {
      this.#typedefs.set(name, { kind: "pointer" });
    }
    for (const [, spelled, name] of this.#text.matchAll(/typedef\s+([\w\s]+[\s*]+)(\w+)\s*;/g)) {
      if (spelled.includes("*")) this.#typedefs.set(name, { kind: "pointer" });
      else if (SCALARS[spelled.trim()] !== undefined) this.#typedefs.set(name, this.type(spelled));
    }
  }

  /** The type that `spelled` names, such as `const struct ggml_tensor *` or `enum ggml_type`. */
  type(spelled: string): CType {
    if (spelled.includes("*")) return { kind: "pointer" };
    const words = spelled
      .trim()
      .split(/\s+/)
      .filter((word) => word !== "const");
    if (words[0] === "enum") return { kind: "scalar", name: "Int32" };
    const name = words[0] === "struct" ? words[1] : words.join(" ");
    const scalar = SCALARS[name];
    if (scalar !== undefined) return { kind: "scalar", name: scalar };
    return this.#typedefs.get(name) ?? { kind: "struct", name };
  }

  struct(name: string): CStruct {
    const body = new RegExp(`struct\\s+${name}\\s*\\{([^}]*)\\}`).exec(this.#text)?.[1];
    if (body === undefined) throw new Error(`The header has no struct ${name}`);
    const fields: CField[] = [];
    let end = 0;
    let alignment = 1;
    for (const declaration of body
      .split(";")
      .map((line) => line.trim())
      .filter((line) => line !== "")) {
      const match = /^([\w\s*]*?[\s*])(\w+)\s*(?:\[([^\]]*)\])?$/.exec(declaration);
      if (match === null) throw new Error(`Cannot read the field "${declaration}" of ${name}`);
      const single = this.type(match[1]);
      const type: CType =
        match[3] === undefined ? single : { kind: "array", of: single, length: this.#evaluate(match[3]) };
      const own = bytesOf(single);
      const offset = Math.ceil(end / own) * own;
      fields.push({ name: match[2], type, offset });
      end = offset + own * (type.kind === "array" ? type.length : 1);
      alignment = Math.max(alignment, own);
    }
    return { fields, bytes: Math.ceil(end / alignment) * alignment };
  }

  /** Values of an enum whose members are numbered explicitly. */
  enumeration(name: string): ReadonlyMap<string, number> {
    const body = new RegExp(`enum\\s+${name}\\s*\\{([^}]*)\\}`).exec(this.#text)?.[1];
    if (body === undefined) throw new Error(`The header has no enum ${name}`);
    return new Map([...body.matchAll(/(\w+)\s*=\s*(-?\d+)/g)].map(([, member, value]) => [member, Number(value)]));
  }

  /** The function `name` as the header declares it. */
  function(name: string): CFunction {
    const match = new RegExp(`(?:LLAMA_API|GGML_API)\\s+([\\w\\s*]+?[\\s*])${name}\\s*\\(([^)]*)\\)\\s*;`).exec(
      this.#text,
    );
    if (match === null) throw new Error(`The header has no function ${name}`);
    return this.signature(match[1], match[2]);
  }

  /** The function that a typedef such as `typedef bool (*name)(int)` points to. */
  callback(name: string): CFunction {
    const match = new RegExp(`typedef\\s+([\\w\\s*]+)\\(\\s*\\*\\s*${name}\\s*\\)\\s*\\(([^)]*)\\)\\s*;`).exec(
      this.#text,
    );
    if (match === null) throw new Error(`The header has no callback type ${name}`);
    return this.signature(match[1], match[2]);
  }

  /** A signature from its result type and its parameter list. */
  signature(result: string, parameters: string): CFunction {
    const list = parameters.trim() === "void" || parameters.trim() === "" ? [] : parameters.split(",");
    return {
      result: result.trim() === "void" ? "void" : this.type(result),
      parameters: list.map((parameter) => this.type(parameter.replace("GGML_RESTRICT", "").replace(/\w+\s*$/, ""))),
    };
  }

  /** Array lengths: a number, a macro, or macro / sizeof(int32_t). */
  #evaluate(expression: string): number {
    const [first, second] = expression.split("/").map((part) => {
      const text = part.trim();
      if (text === "sizeof(int32_t)") return 4;
      const value = this.#defines.get(text) ?? Number(text);
      if (!Number.isInteger(value)) throw new Error(`Cannot evaluate the array length ${expression}`);
      return value;
    });
    return second === undefined ? first : first / second;
  }
}

function bytesOf(type: CType): number {
  if (type.kind === "pointer") return 8;
  if (type.kind === "scalar") return SCALAR_BYTES[type.name];
  throw new Error("Structs inside structs are not read");
}
