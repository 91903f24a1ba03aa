/**
 * Reads and writes 32-bit words, pointers and floats at native addresses without allocating: the eval callback looks at
 * a thousand graph nodes per token, and a typed array for each would keep the garbage collector busy beside ggml's
 * spinning threads. Memory is seen through windows of 1 MiB that are made once and kept.
 *
 * The caller answers for the address: only fields of structs that ggml itself handed over may be read.
 */
import koffi from "koffi";

const WINDOW_BYTES = 2 ** 20;
const WINDOW_WORDS = WINDOW_BYTES / 4;

interface Window {
  readonly words: Uint32Array;
  readonly ints: Int32Array;
  readonly floats: Float32Array;
}

export class NativeWords {
  readonly #windows = new Map<number, Window>();
  #lastIndex = -1;
  #last: Window | undefined;

  /** Unsigned 32-bit word at a 4-byte aligned address. */
  u32(address: number): number {
    return this.#window(address).words[(address % WINDOW_BYTES) >>> 2];
  }

  i32(address: number): number {
    return this.#window(address).ints[(address % WINDOW_BYTES) >>> 2];
  }

  setI32(address: number, value: number): void {
    this.#window(address).ints[(address % WINDOW_BYTES) >>> 2] = value;
  }

  f32(address: number): number {
    return this.#window(address).floats[(address % WINDOW_BYTES) >>> 2];
  }

  /** Copies `count` floats from a 4-byte aligned address to `into`, from index `at` on. */
  copyFloats(address: number, count: number, into: Float32Array, at: number): void {
    for (let done = 0; done < count; ) {
      const from = address + done * 4;
      const first = (from % WINDOW_BYTES) >>> 2;
      const end = Math.min(WINDOW_WORDS, first + count - done);
      const { floats } = this.#window(from);
      for (let i = first; i < end; i++) into[at + done++] = floats[i];
    }
  }

  /** 64-bit size, count or pointer; exact below 2^53, which every user-space address is. */
  u64(address: number): number {
    return this.u32(address + 4) * 2 ** 32 + this.u32(address);
  }

  setU64(address: number, value: number): void {
    const window = this.#window(address);
    window.words[(address % WINDOW_BYTES) >>> 2] = value >>> 0;
    this.#window(address + 4).words[((address + 4) % WINDOW_BYTES) >>> 2] = Math.floor(value / 2 ** 32);
  }

  #window(address: number): Window {
    const index = Math.floor(address / WINDOW_BYTES);
    if (index === this.#lastIndex) return this.#last as Window;
    let window = this.#windows.get(index);
    if (window === undefined) {
      // Only the words that are asked for are touched, so it does not matter if part of the window is unmapped.
      const buffer = koffi.view(BigInt(index * WINDOW_BYTES), WINDOW_BYTES) as ArrayBuffer;
      window = {
        words: new Uint32Array(buffer, 0, WINDOW_WORDS),
        ints: new Int32Array(buffer, 0, WINDOW_WORDS),
        floats: new Float32Array(buffer, 0, WINDOW_WORDS),
      };
      this.#windows.set(index, window);
    }
    this.#lastIndex = index;
    this.#last = window;
    return window;
  }
}
