/**
 * The arithmetic of predictors, four floats at a time: matrix products with both operands row by row, and Adam's step.
 * Operands lie in one WebAssembly memory that its user lays out; everything else of training is plain TypeScript.
 */
import { PredictorError } from "./errors.ts";
import { type Code, doWhile, f32x4, i32, type Local, wasmFunction, wasmModule } from "./wasm-module.ts";

/** Rows have a multiple of this many floats, so that kernels need no remainder: two vectors at a time. */
export const ROW_FLOATS = 8;

/** Addresses are in bytes and multiples of 16. Overlap is not allowed. */
export interface Kernels {
  /**
   * `c[m][n] = a[m][k] . b[n][k]`: every row of a with every row of b.
   * @param m even, above 0
   * @param n a multiple of 4, above 0
   * @param rowBytes 4 k, a multiple of 32
   */
  multiply(a: number, b: number, c: number, m: number, n: number, rowBytes: number): void;
  /** `y[n] = b[n][k] . x[k]`: the same for a single row. */
  multiplyRow(x: number, b: number, y: number, n: number, rowBytes: number): void;
  /**
   * Adam (Kingma and Ba 2015) on `bytes` / 4 weights, with decay rates 0.9 and 0.999.
   * @param rate learning rate over (1 - 0.9^t)
   * @param varianceScale 1 / (1 - 0.999^t)
   */
  adam(
    weights: number,
    gradient: number,
    mean: number,
    variance: number,
    bytes: number,
    rate: number,
    varianceScale: number,
  ): void;
}

/** A memory that grows and the kernels that work in it. */
export class KernelMemory {
  readonly kernels: Kernels;
  readonly #memory: WasmMemory;
  #usedBytes = 0;

  /** @throws PredictorError `no-vectors` */
  constructor() {
    compiled ??= compile();
    this.#memory = new WebAssembly.Memory({ initial: 0 });
    const instance = new WebAssembly.Instance(compiled, { env: { memory: this.#memory } });
    this.kernels = instance.exports as unknown as Kernels;
  }

  /** Address of room for so many floats, all 0. Views made before are detached: allocate everything first. */
  allocate(floats: number): number {
    const address = this.#usedBytes;
    this.#usedBytes += Math.ceil(floats / ROW_FLOATS) * ROW_FLOATS * 4;
    const missing = this.#usedBytes - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE_BYTES));
    return address;
  }

  floats(address: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#memory.buffer, address, length);
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }
}

const PAGE_BYTES = 65_536;
let compiled: object | undefined;

/** V8 has no vectors on processors older than SSE4.1, and no WebAssembly at all with --jitless. There is no slower way beside it. */
function compile(): object {
  try {
    return new WebAssembly.Module(wasmModule([MULTIPLY, MULTIPLY_ROW, ADAM]));
  } catch (error) {
    throw new PredictorError(
      "no-vectors",
      `Predictors need WebAssembly with 128-bit vectors, which this Node does not have (${(error as Error).message}). ` +
        "Start it without --jitless, or use a policy other than promoe.",
    );
  }
}

/** What Node's types do not declare without those of a browser. */
interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  readonly Memory: new (limits: { readonly initial: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
};

export function padded(floats: number): number {
  return Math.ceil(floats / ROW_FLOATS) * ROW_FLOATS;
}

const VECTOR_BYTES = 16;
/** Rows of b that are worked on at once: their sums make one vector of the result. */
const COLUMNS = 4;
const ROWS = 2;
const UNROLLED = 2;

/** The four sums of four vectors, as one vector. */
function sums([a, b, c, d]: readonly Local[]): Code {
  const halves = (x: Local, y: Local) =>
    f32x4.add(f32x4.shuffle(x.value, y.value, [0, 4, 1, 5]), f32x4.shuffle(x.value, y.value, [2, 6, 3, 7]));
  return [
    a.set(halves(a, b)),
    c.set(halves(c, d)),
    f32x4.add(f32x4.shuffle(a.value, c.value, [0, 1, 4, 5]), f32x4.shuffle(a.value, c.value, [2, 3, 6, 7])),
  ];
}

const increase = (local: Local, by: Code): Code => local.set(i32.add(local.value, by));

/**
 * Four rows of b at a time stay in the first cache while all of a passes: with a batch of 128 rows of 2048 floats a is
 * 1 MiB and b may be far more than that.
 */
const MULTIPLY = wasmFunction("multiply", ["i32", "i32", "i32", "i32", "i32", "i32"], (parameters, local) => {
  const [a, b, c, m, n, rowBytes] = parameters as readonly [Local, Local, Local, Local, Local, Local];
  const accumulators = Array.from({ length: ROWS }, () => Array.from({ length: COLUMNS }, () => local("v128")));
  const aRows = Array.from({ length: ROWS }, () => local("i32"));
  const bRows = Array.from({ length: COLUMNS }, () => local("i32"));
  const aValues = Array.from({ length: ROWS }, () => local("v128"));
  const bValue = local("v128");
  const [result, rowsLeft, column, bEnd] = Array.from({ length: 4 }, () => local("i32"));
  const resultRow = local("i32");
  const step = Array.from(
    { length: UNROLLED },
    (_, i): Code => [
      aValues.map((value, row) => value.set(f32x4.load(i32.add(aRows[row].value, column.value), i * VECTOR_BYTES))),
      bRows.map((bRow, j) => [
        bValue.set(f32x4.load(i32.add(bRow.value, column.value), i * VECTOR_BYTES)),
        accumulators.map((row, r) => row[j].set(f32x4.add(row[j].value, f32x4.mul(aValues[r].value, bValue.value)))),
      ]),
    ],
  );
  return [
    resultRow.set(i32.mul(n.value, i32.const(4))),
    bEnd.set(i32.add(b.value, i32.mul(n.value, rowBytes.value))),
    doWhile(
      [
        aRows[0].set(a.value),
        bRows.map((row, j) => row.set(j === 0 ? b.value : i32.add(bRows[j - 1].value, rowBytes.value))),
        result.set(c.value),
        rowsLeft.set(m.value),
        doWhile(
          [
            aRows[1].set(i32.add(aRows[0].value, rowBytes.value)),
            accumulators.flat().map((sum) => sum.set(f32x4.zero())),
            column.set(i32.const(0)),
            doWhile(
              [step, increase(column, i32.const(UNROLLED * VECTOR_BYTES))],
              i32.lessThan(column.value, rowBytes.value),
            ),
            accumulators.map((row) => [
              bValue.set(sums(row)),
              f32x4.store(result.value, bValue.value),
              increase(result, resultRow.value),
            ]),
            increase(aRows[0], i32.mul(rowBytes.value, i32.const(ROWS))),
            rowsLeft.set(i32.sub(rowsLeft.value, i32.const(ROWS))),
          ],
          rowsLeft.value,
        ),
        increase(b, i32.mul(rowBytes.value, i32.const(COLUMNS))),
        increase(c, i32.const(VECTOR_BYTES)),
      ],
      i32.lessThan(b.value, bEnd.value),
    ),
  ];
});

const MULTIPLY_ROW = wasmFunction("multiplyRow", ["i32", "i32", "i32", "i32", "i32"], (parameters, local) => {
  const [x, b, y, n, rowBytes] = parameters as readonly [Local, Local, Local, Local, Local];
  // Two sets: an addition takes several cycles, and one after the other they would wait for each other.
  const accumulators = Array.from({ length: UNROLLED }, () => Array.from({ length: COLUMNS }, () => local("v128")));
  const bRows = Array.from({ length: COLUMNS }, () => local("i32"));
  const value = local("v128");
  const [column, bEnd] = [local("i32"), local("i32")];
  return [
    bEnd.set(i32.add(b.value, i32.mul(n.value, rowBytes.value))),
    doWhile(
      [
        bRows.map((row, j) => row.set(j === 0 ? b.value : i32.add(bRows[j - 1].value, rowBytes.value))),
        accumulators.flat().map((sum) => sum.set(f32x4.zero())),
        column.set(i32.const(0)),
        doWhile(
          [
            accumulators.map((set, i) => [
              value.set(f32x4.load(i32.add(x.value, column.value), i * VECTOR_BYTES)),
              set.map((sum, j) => {
                const weights = f32x4.load(i32.add(bRows[j].value, column.value), i * VECTOR_BYTES);
                return sum.set(f32x4.add(sum.value, f32x4.mul(weights, value.value)));
              }),
            ]),
            increase(column, i32.const(UNROLLED * VECTOR_BYTES)),
          ],
          i32.lessThan(column.value, rowBytes.value),
        ),
        accumulators[0].map((sum, j) => sum.set(f32x4.add(sum.value, accumulators[1][j].value))),
        value.set(sums(accumulators[0])),
        f32x4.store(y.value, value.value),
        increase(y, i32.const(VECTOR_BYTES)),
        increase(b, i32.mul(rowBytes.value, i32.const(COLUMNS))),
      ],
      i32.lessThan(b.value, bEnd.value),
    ),
  ];
});

/** Keeps a weight that never had a gradient where it is. */
const ADAM_EPSILON = 1e-8;
const MEAN_DECAY = 0.9;
const VARIANCE_DECAY = 0.999;

/** Corrections of Adam's first steps. @param step counts from 1 */
export function adamStep(
  learningRate: number,
  step: number,
): { readonly rate: number; readonly varianceScale: number } {
  return { rate: learningRate / (1 - MEAN_DECAY ** step), varianceScale: 1 / (1 - VARIANCE_DECAY ** step) };
}

const ADAM = wasmFunction("adam", ["i32", "i32", "i32", "i32", "i32", "f32", "f32"], (parameters, local) => {
  const [weights, gradient, mean, variance, bytes, rate, varianceScale] = parameters as readonly [
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const constant = (value: number): Code => f32x4.splat([0x43, [...new Uint8Array(Float32Array.of(value).buffer)]]);
  const [g, m, v] = Array.from({ length: 3 }, () => local("v128"));
  const end = local("i32");
  const averaged = (old: Local, decay: number, value: Code): Code =>
    f32x4.add(f32x4.mul(f32x4.load(old.value), constant(decay)), f32x4.mul(value, constant(1 - decay)));
  return [
    end.set(i32.add(weights.value, bytes.value)),
    doWhile(
      [
        g.set(f32x4.load(gradient.value)),
        m.set(averaged(mean, MEAN_DECAY, g.value)),
        f32x4.store(mean.value, m.value),
        v.set(averaged(variance, VARIANCE_DECAY, f32x4.mul(g.value, g.value))),
        f32x4.store(variance.value, v.value),
        f32x4.store(
          weights.value,
          f32x4.sub(
            f32x4.load(weights.value),
            f32x4.div(
              f32x4.mul(f32x4.splat(rate.value), m.value),
              f32x4.add(f32x4.sqrt(f32x4.mul(v.value, f32x4.splat(varianceScale.value))), constant(ADAM_EPSILON)),
            ),
          ),
        ),
        [weights, gradient, mean, variance].map((pointer) => increase(pointer, i32.const(VECTOR_BYTES))),
      ],
      i32.lessThan(weights.value, end.value),
    ),
  ];
});
