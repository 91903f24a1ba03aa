/**
 * The filters of the newest set groups, in RAM until their group is full: for each set number one page, as it will lie on flash.
 * The image of a whole zone, header and footer included. Older groups are read through `IndexCache`.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import { addToFilter, claimAll, type FilterShape, filterPositions, rowBytesOf } from "../format/filter.ts";
import { endOfEntries, entryHigh, entryLow, firstEntry, nextEntry } from "../format/set-page.ts";

export class IndexGroup {
  readonly bytes: Uint8Array;
  readonly #shape: FilterShape;
  readonly #rowBytes: number;
  readonly #positions: Uint16Array;

  /** @param filters in a page: set groups in the index group */
  constructor(sets: number, shape: FilterShape, filters: number) {
    this.bytes = new Uint8Array((sets + 2) * PAGE_BYTES);
    this.#shape = shape;
    this.#rowBytes = rowBytesOf(filters);
    this.#positions = new Uint16Array(shape.hashes);
  }

  /** Where the page of set number `s` begins. */
  at(s: number): number {
    return (s + 1) * PAGE_BYTES;
  }

  /** The first filters of the next group come: those of the last one are on flash. */
  clear(): void {
    this.bytes.fill(0);
  }

  /** Writes the filter of a set whose contents are final. @param place of its set group in this index group */
  write(s: number, place: number, from: Uint8Array, set: number): void {
    const end = endOfEntries(from, set);
    for (let entry = firstEntry(set); entry < end; entry = nextEntry(from, entry)) {
      filterPositions(this.#shape, entryLow(from, entry), entryHigh(from, entry), this.#positions);
      addToFilter(this.bytes, this.at(s), this.#rowBytes, place, this.#positions, this.#shape.hashes);
    }
  }

  /** The filter of a set that cannot be read any more: it claims every key, so that nothing older is taken for the newest. */
  claimAll(s: number, place: number): void {
    claimAll(this.bytes, this.at(s), this.#rowBytes, place, this.#shape);
  }
}
