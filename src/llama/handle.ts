/**
 * The lifetime of one native object: its address until it is disposed, and the objects that must be freed before it
 * (a model's contexts, vocabulary and samplers). It knows nothing of what the object is.
 */
import { DisposedError } from "./errors.ts";
import type { NativePointer } from "./structs.ts";

export class NativeHandle implements Disposable {
  readonly #name: string;
  readonly #free: (address: NativePointer) => void;
  readonly #dependants = new Set<Disposable>();
  readonly #owner: NativeHandle | undefined;
  #address: NativePointer | undefined;

  /**
   * @param name what the object is called in a DisposedError
   * @param free releases the native object; called once, after all dependants
   * @param owner disposes this handle when it is itself disposed
   */
  constructor(name: string, address: NativePointer, free: (address: NativePointer) => void, owner?: NativeHandle) {
    this.#name = name;
    this.#address = address;
    this.#free = free;
    this.#owner = owner;
    if (owner !== undefined) owner.#dependants.add(this);
  }

  /** @throws DisposedError after `dispose()` */
  get address(): NativePointer {
    if (this.#address === undefined) throw new DisposedError(this.#name);
    return this.#address;
  }

  /** @throws DisposedError after `dispose()` */
  assertUsable(): void {
    if (this.#address === undefined) throw new DisposedError(this.#name);
  }

  /** Frees the dependants, youngest first, then the object. The second call does nothing. */
  dispose(): void {
    const address = this.#address;
    if (address === undefined) return;
    for (const dependant of [...this.#dependants].reverse()) dependant[Symbol.dispose]();
    this.#address = undefined;
    if (this.#owner !== undefined) this.#owner.#dependants.delete(this);
    this.#free(address);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
