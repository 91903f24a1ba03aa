/**
 * Typed arrays in native memory, at an address that a ggml graph can be given. Whoever makes one frees it; its view must
 * not be touched afterwards.
 */
import koffi from "koffi";
import type { NativePointer } from "./structs.ts";

export interface NativeFloats extends Disposable {
  readonly address: number;
  readonly values: Float32Array;
}

export interface NativeInts extends Disposable {
  readonly address: number;
  readonly values: Int32Array;
}

/** `count` floats, all 0. */
export function nativeFloats(count: number): NativeFloats {
  const { buffer, ...memory } = allocated(count);
  return { ...memory, values: new Float32Array(buffer) };
}

/** `count` 32-bit integers, all 0. */
export function nativeInts(count: number): NativeInts {
  const { buffer, ...memory } = allocated(count);
  return { ...memory, values: new Int32Array(buffer) };
}

function allocated(count: number): { address: number; buffer: ArrayBuffer; [Symbol.dispose](): void } {
  const pointer = koffi.alloc("float", Math.max(1, count)) as NativePointer;
  const buffer = koffi.view(pointer, Math.max(1, count) * 4) as ArrayBuffer;
  new Uint8Array(buffer).fill(0);
  return { address: Number(pointer), buffer, [Symbol.dispose]: () => koffi.free(pointer) };
}
