/** Bytes of a simulated device in RAM, taken only where something is written; or none, where only counts matter. */
import { PAGE_BYTES } from "./zone-device.ts";

const CHUNK_PAGES = 256;

export class PageMemory {
  readonly #chunks: (Uint8Array | undefined)[];
  readonly #store: boolean;

  /** @param store false: nothing is kept, and every page reads as zeros */
  constructor(pages: number, store: boolean) {
    this.#store = store;
    this.#chunks = new Array<Uint8Array | undefined>(store ? Math.ceil(pages / CHUNK_PAGES) : 0).fill(undefined);
  }

  /** @param from where in `bytes` the page begins */
  write(page: number, bytes: Uint8Array, from: number): void {
    if (!this.#store) return;
    const index = Math.floor(page / CHUNK_PAGES);
    let chunk = this.#chunks[index];
    if (chunk === undefined) {
      chunk = new Uint8Array(CHUNK_PAGES * PAGE_BYTES);
      this.#chunks[index] = chunk;
    }
    chunk.set(bytes.subarray(from, from + PAGE_BYTES), (page % CHUNK_PAGES) * PAGE_BYTES);
  }

  /** @param to where in `into` the page begins */
  read(page: number, into: Uint8Array, to: number): void {
    const chunk = this.#chunks[Math.floor(page / CHUNK_PAGES)];
    const at = (page % CHUNK_PAGES) * PAGE_BYTES;
    if (chunk === undefined) into.fill(0, to, to + PAGE_BYTES);
    else into.set(chunk.subarray(at, at + PAGE_BYTES), to);
  }
}
