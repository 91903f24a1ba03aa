/**
 * Reads by `pread` on a few worker threads: for where Linux AIO or O_DIRECT is refused (tmpfs, some overlays and
 * network file systems). The owner never runs its event loop while a token is computed, so requests and results go
 * through shared memory and futexes (`Atomics.wait`), not through messages.
 */
import { Worker } from "node:worker_threads";
import { compiledModule } from "../compiled-module.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

export interface PreadFile {
  readonly path: string;
  readonly fd: number;
  /** The file went through the page cache: drop what was read, or it would be held twice. */
  readonly buffered: boolean;
}

export interface PreadPoolOptions {
  /** Reads at the same time. @default 4 (each thread costs about 5 MiB; drives are flat or near it at 4 x 1 MiB) */
  readonly threads?: number;
  /** Requests queued or running at most, a power of two. @default 256 */
  readonly depth?: number;
}

/** Layout of the shared block; the worker imports it from here so that both sides agree by construction. */
export const CONTROL = { submitted: 0, claimed: 1, done: 2, stop: 3, words: 4 } as const;
export const SLOT = { fd: 0, bytes: 1, buffered: 2, state: 3, errno: 4, words: 5 } as const;
export const STATE = { free: 0, queued: 1, done: 2 } as const;
/** Per slot in the Float64 block: file offset, address, bytes the file holds there. */
export const WIDE = { offset: 0, address: 1, expected: 2, words: 3 } as const;

export interface PreadWorkerData {
  readonly control: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly wide: SharedArrayBuffer;
  readonly depth: number;
}

export function createPreadPool(
  files: readonly PreadFile[],
  done: ReadDone,
  options: PreadPoolOptions = {},
): ReadEngine {
  return new PreadPool(files, done, options.threads ?? 4, options.depth ?? 256);
}

class PreadPool implements ReadEngine {
  readonly name = "pread-pool" as const;
  readonly #files: readonly PreadFile[];
  readonly #done: ReadDone;
  readonly #depth: number;
  readonly #control: Int32Array;
  readonly #slots: Int32Array;
  readonly #wide: Float64Array;
  readonly #slotTag: Float64Array;
  readonly #slotFile: Int32Array;
  #inFlight = 0;

  constructor(files: readonly PreadFile[], done: ReadDone, threads: number, depth: number) {
    this.#files = files;
    this.#done = done;
    this.#depth = depth;
    const shared: PreadWorkerData = {
      control: new SharedArrayBuffer(CONTROL.words * 4),
      slots: new SharedArrayBuffer(depth * SLOT.words * 4),
      wide: new SharedArrayBuffer(depth * WIDE.words * 8),
      depth,
    };
    this.#control = new Int32Array(shared.control);
    this.#slots = new Int32Array(shared.slots);
    this.#wide = new Float64Array(shared.wide);
    this.#slotTag = new Float64Array(depth);
    this.#slotFile = new Int32Array(depth);
    for (let i = 0; i < threads; i++) {
      const worker = new Worker(compiledModule(import.meta.url, "./pread-worker.js"), {
        workerData: shared,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
      });
      worker.unref();
    }
  }

  get free(): number {
    return this.#depth - this.#inFlight;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  submit(file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void {
    if (this.free === 0) throw new Error("Read queue full: reap before submitting more.");
    // Workers take slots in the order of submission; a slot is free again when its result was reaped.
    const ticket = Atomics.load(this.#control, CONTROL.submitted);
    // Tickets wrap at 2^32, after a month of 1 GB/s; a power of two divides that.
    const slot = (ticket >>> 0) % this.#depth;
    // Results can be reaped out of order, so the next slot in line may still be busy although others are free.
    while (Atomics.load(this.#slots, slot * SLOT.words + SLOT.state) !== STATE.free) this.reap(1);
    this.#slotTag[slot] = tag;
    this.#slotFile[slot] = file;
    const word = slot * SLOT.words;
    this.#slots[word + SLOT.fd] = this.#files[file].fd;
    this.#slots[word + SLOT.bytes] = bytes;
    this.#slots[word + SLOT.buffered] = this.#files[file].buffered ? 1 : 0;
    this.#wide[slot * WIDE.words + WIDE.offset] = offset;
    this.#wide[slot * WIDE.words + WIDE.address] = address;
    this.#wide[slot * WIDE.words + WIDE.expected] = expected;
    Atomics.store(this.#slots, word + SLOT.state, STATE.queued);
    this.#inFlight++;
    Atomics.add(this.#control, CONTROL.submitted, 1);
    Atomics.notify(this.#control, CONTROL.submitted, 1);
  }

  reap(atLeast: number): number {
    const wanted = Math.min(atLeast, this.#inFlight);
    let reaped = 0;
    for (;;) {
      const before = Atomics.load(this.#control, CONTROL.done);
      reaped += this.#collect();
      if (reaped >= wanted) return reaped;
      Atomics.wait(this.#control, CONTROL.done, before);
    }
  }

  #collect(): number {
    let reaped = 0;
    for (let slot = 0; slot < this.#depth; slot++) {
      const word = slot * SLOT.words;
      if (Atomics.load(this.#slots, word + SLOT.state) !== STATE.done) continue;
      const errno = this.#slots[word + SLOT.errno];
      const bytes = this.#slots[word + SLOT.bytes];
      Atomics.store(this.#slots, word + SLOT.state, STATE.free);
      this.#inFlight--;
      reaped++;
      if (errno < 0) this.#done(this.#slotTag[slot], bytes, undefined);
      else {
        const offset = this.#wide[slot * WIDE.words + WIDE.offset];
        this.#done(this.#slotTag[slot], bytes, { file: this.#files[this.#slotFile[slot]].path, offset, bytes, errno });
      }
    }
    return reaped;
  }

  close(): void {
    while (this.#inFlight > 0) this.reap(this.#inFlight);
    Atomics.store(this.#control, CONTROL.stop, 1);
    Atomics.add(this.#control, CONTROL.submitted, 1);
    Atomics.notify(this.#control, CONTROL.submitted);
  }
}
