/**
 * Values that say whose they are, so that a bench notices when an engine answers wrongly: the key's id and the number of the set
 * that put them stand at their start. Of each place in a table the last key set is remembered with that number, so that older
 * values are noticed too; a value shorter than 12 bytes is not looked at.
 */
import { Randomness } from "../../predict/randomness.ts";
import { readU32, writeU32 } from "../format/little-endian.ts";

const PLACES = 1 << 18;
const MARK_BYTES = 12;

export class CheckedValues {
  /** Random, for drives that compress. */
  readonly #bytes: Uint8Array;
  /** Of each place: the key's id in two halves, and the number of the set; 0: none. */
  readonly #last = new Uint32Array(3 * PLACES);
  #sets = 0;
  #wrong = 0;

  /** @param longest bytes of a value */
  constructor(longest: number) {
    const random = new Randomness(longest);
    this.#bytes = Uint8Array.from({ length: longest }, () => 256 * random.next());
  }

  /** Values that were another key's, or older than the last one set. */
  get wrong(): number {
    return this.#wrong;
  }

  /** A value for this key, in memory that the next call uses again. */
  make(idLow: number, idHigh: number, length: number): Uint8Array {
    this.#sets = (this.#sets + 1) >>> 0 || 1;
    writeU32(this.#bytes, 0, idLow);
    writeU32(this.#bytes, 4, idHigh);
    writeU32(this.#bytes, 8, this.#sets);
    const at = placeOf(idLow, idHigh);
    this.#last[at] = idLow;
    this.#last[at + 1] = idHigh;
    this.#last[at + 2] = this.#sets;
    return this.#bytes.subarray(0, length);
  }

  /** The key has no value from now on. */
  deleted(idLow: number, idHigh: number): void {
    const at = placeOf(idLow, idHigh);
    this.#last[at] = idLow;
    this.#last[at + 1] = idHigh;
    this.#last[at + 2] = 0;
  }

  check(idLow: number, idHigh: number, value: Uint8Array): void {
    if (value.length < MARK_BYTES) return;
    const at = placeOf(idLow, idHigh);
    const isLast = this.#last[at] === idLow && this.#last[at + 1] === idHigh;
    if (readU32(value, 0) !== idLow || readU32(value, 4) !== idHigh) this.#wrong++;
    else if (isLast && readU32(value, 8) !== this.#last[at + 2]) this.#wrong++;
  }
}

function placeOf(idLow: number, idHigh: number): number {
  return 3 * (((Math.imul(idLow, 0x9e3779b1) ^ Math.imul(idHigh, 0x85ebca6b)) >>> 14) % PLACES);
}
