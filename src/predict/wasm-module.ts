/**
 * Just enough of an assembler for WebAssembly to write the matrix kernels of this folder in TypeScript: i32 arithmetic,
 * 128-bit vectors of four f32, do-while loops. V8 compiles no JavaScript to vector instructions; this portable code runs
 * wherever Node has WebAssembly's vectors, and the simulator needs no native library for it.
 *
 * Numbers of instructions are those of the WebAssembly core specification 2.0, section 5.4; `i32.add` here is `i32.add` there.
 */

/** Instructions, nested as it suits who writes them; they run in order. */
export type Code = number | readonly Code[];

type ValueType = "i32" | "f32" | "v128";
const TYPE_BYTE: Readonly<Record<ValueType, number>> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };
/** Type of a block that leaves nothing on the stack. */
const NO_VALUE = 0x40;
/** Precedes the number of every vector instruction. */
const VECTOR = 0xfd;
const END = 0x0b;
/** log2 of the alignment that loads and stores promise; a hint, not checked by the engine. */
const ALIGNED_16 = 4;

export class Local {
  readonly #index: readonly number[];

  constructor(index: number) {
    this.#index = unsigned(index);
  }

  get value(): Code {
    return [0x20, this.#index]; // local.get
  }

  set(value: Code): Code {
    return [value, 0x21, this.#index]; // local.set
  }
}

export const i32 = {
  const: (value: number): Code => [0x41, signed(value)],
  add: (a: Code, b: Code): Code => [a, b, 0x6a],
  sub: (a: Code, b: Code): Code => [a, b, 0x6b],
  mul: (a: Code, b: Code): Code => [a, b, 0x6c],
  /** Unsigned: addresses may lie beyond 2 GiB. */
  lessThan: (a: Code, b: Code): Code => [a, b, 0x49],
} as const;

const vectorOp =
  (op: number) =>
  (...operands: readonly Code[]): Code => [operands, VECTOR, unsigned(op)];

export const f32x4 = {
  /** v128.const */
  zero: (): Code => [VECTOR, unsigned(0x0c), new Array<number>(16).fill(0)],
  splat: vectorOp(0x13),
  sqrt: vectorOp(0xe3),
  add: vectorOp(0xe4),
  sub: vectorOp(0xe5),
  mul: vectorOp(0xe6),
  div: vectorOp(0xe7),
  /** @param offset bytes added to the address */
  load: (address: Code, offset = 0): Code => [address, VECTOR, unsigned(0x00), ALIGNED_16, unsigned(offset)],
  store: (address: Code, value: Code): Code => [address, value, VECTOR, unsigned(0x0b), ALIGNED_16, 0],
  /** Lanes 0..3 are those of `a`, 4..7 those of `b`. */
  shuffle: (a: Code, b: Code, lanes: readonly number[]): Code => [
    a,
    b,
    VECTOR,
    unsigned(0x0d),
    lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
  ],
} as const;

/** Runs `body` once, and again as long as `condition` is not 0 after it. */
export function doWhile(body: Code, condition: Code): Code {
  return [0x03, NO_VALUE, body, condition, 0x0d, 0, END]; // loop; br_if to its beginning
}

export interface WasmFunction {
  readonly name: string;
  readonly parameters: readonly ("i32" | "f32")[];
  readonly locals: readonly ValueType[];
  readonly body: Code;
}

/** Writes a function without a result. `write` gets its parameters and makes its locals. */
export function wasmFunction(
  name: string,
  parameters: WasmFunction["parameters"],
  write: (parameters: readonly Local[], local: (type: ValueType) => Local) => Code,
): WasmFunction {
  const locals: ValueType[] = [];
  const body = write(
    parameters.map((_, i) => new Local(i)),
    (type) => new Local(parameters.length + locals.push(type) - 1),
  );
  return { name, parameters, locals, body };
}

const SECTION = { types: 1, imports: 2, functions: 3, exports: 7, code: 10 } as const;

/** The bytes of a module that exports the functions and imports its memory as `env.memory`. */
export function wasmModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters }) => [
    0x60, // a function's type
    vector(parameters.map((type) => TYPE_BYTE[type])),
    vector([]),
  ]);
  const bodies = functions.map(({ locals, body }) => {
    const code = flat([vector(locals.map((type) => [1, TYPE_BYTE[type]])), body, END]);
    return [unsigned(code.length), code];
  });
  return Uint8Array.from(
    flat([
      [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // "\0asm", version 1
      section(SECTION.types, vector(types)),
      // A memory (2) without a largest size (0), of no page at least.
      section(SECTION.imports, vector([[name("env"), name("memory"), 0x02, 0x00, unsigned(0)]])),
      section(SECTION.functions, vector(functions.map((_, i) => unsigned(i)))),
      section(SECTION.exports, vector(functions.map((fn, i) => [name(fn.name), 0x00, unsigned(i)]))),
      section(SECTION.code, vector(bodies)),
    ]),
  );
}

function section(id: number, content: Code): Code {
  const bytes = flat(content);
  return [id, unsigned(bytes.length), bytes];
}

function vector(items: readonly Code[]): Code {
  return [unsigned(items.length), items];
}

function name(text: string): Code {
  return vector([...Buffer.from(text, "utf8")]);
}

function flat(code: Code): number[] {
  return typeof code === "number" ? [code] : code.flatMap(flat);
}

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest < -64 || rest > 63; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest & 0x7f];
}
