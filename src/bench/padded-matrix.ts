/**
 * Puts one matrix into the corner of a larger one, block by block in its own tensor type. What is new is zero where it
 * would change the product, and where the input is zero anyway it may be noise of the size of weights.
 */
import { GgmlType, ggmlTypeTraits } from "../gguf/index.ts";

export interface MatrixSize {
  /** Length of a row, the dimension that is summed over. */
  readonly columns: number;
  readonly rows: number;
}

export interface PaddedMatrixOptions {
  readonly type: GgmlType;
  readonly from: MatrixSize;
  readonly to: MatrixSize;
  /** Factor on the old weights. @default 1 (any tensor type; another factor needs f32, f16 or q8_0) */
  readonly scale?: number;
  /** Fills the new columns, whose inputs are zero. @default zeros */
  readonly noise?: NoiseBlocks | undefined;
}

/**
 * Writes the larger matrix to `target` (`to.rows` rows of `to.columns`), all of it. New rows are zero in the old
 * columns: their units must stay zero. Throws `RangeError` for a scale that would round a weight.
 */
export function writePaddedMatrix(source: Uint8Array, target: Uint8Array, options: PaddedMatrixOptions): void {
  const { type, from, to, scale = 1, noise } = options;
  const fromRowBytes = rowBytes(type, from.columns);
  const toRowBytes = rowBytes(type, to.columns);
  target.fill(0);
  for (let row = 0; row < to.rows; row++) {
    const at = row * toRowBytes;
    if (row < from.rows) target.set(source.subarray(row * fromRowBytes, (row + 1) * fromRowBytes), at);
    if (row < from.rows && scale !== 1) scaleBlocks(target.subarray(at, at + fromRowBytes), type, scale);
    noise?.fill(target.subarray(at + fromRowBytes, at + toRowBytes));
  }
}

export function rowBytes(type: GgmlType, columns: number): number {
  const { blockElements, blockBytes } = ggmlTypeTraits(type);
  return (columns / blockElements) * blockBytes;
}

function scaleBlocks(blocks: Uint8Array, type: GgmlType, scale: number): void {
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  if (type === GgmlType.F32) {
    for (let at = 0; at < blocks.length; at += 4)
      view.setFloat32(at, exactProduct(view.getFloat32(at, true), scale), true);
  } else if (type === GgmlType.F16 || type === GgmlType.Q8_0) {
    // A q8_0 block is one f16 scale and 32 signed bytes, so scaling its first word scales the block.
    const step = ggmlTypeTraits(type).blockBytes;
    for (let at = 0; at < blocks.length; at += step)
      view.setUint16(at, scaleHalf(view.getUint16(at, true), Math.log2(scale)), true);
  } else
    throw new RangeError(
      `Weights of type ${ggmlTypeTraits(type).name} cannot be scaled here; use an f16 or q8_0 model`,
    );
}

function exactProduct(value: number, scale: number): number {
  const scaled = value * scale;
  if (Math.fround(scaled) !== scaled) throw new RangeError(`The weight ${value} times ${scale} would be rounded`);
  return scaled;
}

/** Half-precision times 2^power by its exponent bits. A result below the normal range would lose bits. */
function scaleHalf(half: number, power: number): number {
  if ((half & 0x7fff) === 0) return half;
  const exponent = (half >>> 10) & 31;
  if (!Number.isInteger(power) || exponent === 0 || exponent + power < 1 || exponent + power > 30)
    throw new RangeError(`A half-precision weight times 2^${power} would be rounded`);
  return half + power * 1024;
}

/** Endless pseudo-random blocks of one tensor type, the same for the same seed. Values are finite and below 0.13. */
export class NoiseBlocks {
  readonly #pool: Uint8Array;
  readonly #blockBytes: number;
  #state: number;

  /** Throws `RangeError` for a type other than f16 and q8_0. */
  constructor(type: GgmlType, seed: number) {
    const { blockBytes, name } = ggmlTypeTraits(type);
    if (type !== GgmlType.F16 && type !== GgmlType.Q8_0) throw new RangeError(`No noise of type ${name}`);
    this.#blockBytes = blockBytes;
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
    // 4 MiB drawn once and then copied from random places: drawing 7 GB of numbers would take longer than writing it.
    this.#pool = new Uint8Array(Math.floor(2 ** 22 / blockBytes) * blockBytes);
    for (let i = 0; i < this.#pool.length; i++) this.#pool[i] = this.#next();
    for (let at = 0; at < this.#pool.length; at += blockBytes) {
      // f16: keep sign and fraction, exponent of 2^-4. q8_0: the block's scale is 2^-10, so values are within 127/1024.
      if (type === GgmlType.F16) this.#pool[at + 1] = (this.#pool[at + 1] & 0x83) | 0x2c;
      else this.#pool.set([0x00, 0x14], at);
    }
  }

  /** Fills whole blocks. */
  fill(target: Uint8Array): void {
    const blocks = this.#pool.length / this.#blockBytes;
    for (let at = 0; at < target.length; ) {
      const from = (this.#next() % blocks) * this.#blockBytes;
      const bytes = Math.min(target.length - at, this.#pool.length - from);
      target.set(this.#pool.subarray(from, from + bytes), at);
      at += bytes;
    }
  }

  /** xorshift32 */
  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}
