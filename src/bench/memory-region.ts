/**
 * Anonymous memory to measure with: it begins where a huge page may, and consists of the kind of pages that is asked for.
 * The kind matters: the kernel describes a read to the device page by page, and a virtual drive was found to take two to
 * three times as long over scattered pages of 4 KiB as over huge ones (`npm run bench:pages`).
 */
import {
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  movePages,
  PAGE_BYTES,
  releaseMemory,
  reserveMemory,
  tryAdviseMemory,
  viewMemory,
} from "../memory/libc.ts";
import { ceilTo } from "../memory/page-plan.ts";

const HUGE_PAGE_BYTES = 2 ** 21;
/** V8 ends the process where a view has more than 8 GiB. */
const VIEW_BYTES = 2 ** 30;
/** Pages move by the slice, as in the engine. */
const SLICE_BYTES = 4 * HUGE_PAGE_BYTES;

export class MemoryRegion implements Disposable {
  readonly address: number;
  readonly bytes: number;
  readonly #reserved: number;

  /** No page is there before `touch`. Where the kernel has no huge pages, "huge" ones are small. */
  constructor(bytes: number, pages: "small" | "huge") {
    this.bytes = bytes;
    this.#reserved = reserveMemory(bytes + HUGE_PAGE_BYTES);
    this.address = ceilTo(this.#reserved, HUGE_PAGE_BYTES);
    tryAdviseMemory(this.address, bytes, pages === "huge" ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }

  /** Writes a byte to every page. */
  touch(): void {
    for (let from = 0; from < this.bytes; from += VIEW_BYTES) {
      const view = new Uint8Array(viewMemory(this.address + from, Math.min(VIEW_BYTES, this.bytes - from)));
      for (let at = 0; at < view.length; at += PAGE_BYTES) view[at] = 1;
    }
  }

  [Symbol.dispose](): void {
    releaseMemory(this.#reserved, this.bytes + HUGE_PAGE_BYTES);
  }
}

/** Moves the pages of [from, from + bytes) to `to`, slice by slice; false if the kernel refuses. */
export function moveSlices(from: number, to: number, bytes: number): boolean {
  let moved = true;
  for (let at = 0; at < bytes; at += SLICE_BYTES)
    moved &&= movePages(from + at, to + at, Math.min(SLICE_BYTES, bytes - at));
  return moved;
}
