/**
 * The logits of a reference run, kept in a file without a name until they are compared: a vocabulary of 150,000 and a
 * thousand tokens are 600 MB. Rows are written once in order and read by number; the system removes the file, whatever
 * becomes of the process.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export class BaseLogits implements Disposable {
  readonly vocabulary: number;
  readonly #descriptor: number;
  readonly #row: Float32Array;
  #rows = 0;

  constructor(vocabulary: number, folder: string = os.tmpdir()) {
    this.vocabulary = vocabulary;
    const directory = fs.mkdtempSync(path.join(folder, "warmset-logits-"));
    const file = path.join(directory, "rows");
    this.#descriptor = fs.openSync(file, "wx+");
    fs.rmSync(directory, { recursive: true });
    this.#row = new Float32Array(vocabulary);
  }

  get rows(): number {
    return this.#rows;
  }

  /** @param logits `[vocabulary]`, copied */
  append(logits: Float32Array): void {
    if (logits.length !== this.vocabulary)
      throw new RangeError(`A row has ${this.vocabulary} logits, not ${logits.length}`);
    this.#row.set(logits);
    fs.writeSync(this.#descriptor, this.#row, 0, this.#row.byteLength, this.#rows++ * this.#row.byteLength);
  }

  /** The row, valid until the next call. */
  row(index: number): Float32Array {
    if (!(index >= 0 && index < this.#rows)) throw new RangeError(`There are ${this.#rows} rows, no row ${index}`);
    fs.readSync(this.#descriptor, this.#row, 0, this.#row.byteLength, index * this.#row.byteLength);
    return this.#row;
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#descriptor);
  }
}
