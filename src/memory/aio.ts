/**
 * Reads by Linux AIO with O_DIRECT: they run in the kernel while JavaScript and ggml do something else, without threads and
 * without a copy. Unlike io_uring it is allowed by the default seccomp profile of Docker. Each read goes out alone: at the size
 * of an expert the system call costs nothing beside it. The queue itself is `aio-queue.ts`.
 */
import { AioQueue } from "./aio-queue.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

export interface AioFile {
  readonly path: string;
  /** Open with O_DIRECT: buffered files make io_submit wait for the disk. */
  readonly fd: number;
}

export interface AioOptions {
  /** Requests in flight at most. @default 256 (at 1 MiB each more than any drive's queue holds) */
  readonly depth?: number;
}

/** Throws `SystemCallError` where the kernel has no AIO (then use the pread pool and say so). */
export function createAio(files: readonly AioFile[], done: ReadDone, options: AioOptions = {}): ReadEngine {
  return new Aio(files, done, options.depth ?? 256);
}

class Aio implements ReadEngine {
  readonly name = "aio" as const;
  readonly #files: readonly AioFile[];
  readonly #done: ReadDone;
  readonly #queue: AioQueue;
  // What was asked for, by the queue's slot.
  readonly #file: Int32Array;
  readonly #offset: Float64Array;
  readonly #bytes: Float64Array;
  readonly #expected: Float64Array;

  constructor(files: readonly AioFile[], done: ReadDone, depth: number) {
    this.#files = files;
    this.#done = done;
    this.#queue = new AioQueue(depth, (tag, result, slot) => this.#finish(tag, result, slot));
    this.#file = new Int32Array(depth);
    this.#offset = new Float64Array(depth);
    this.#bytes = new Float64Array(depth);
    this.#expected = new Float64Array(depth);
  }

  get free(): number {
    return this.#queue.free;
  }

  get inFlight(): number {
    return this.#queue.pending;
  }

  submit(file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void {
    if (this.free === 0) throw new Error("AIO queue full: reap before submitting more.");
    const slot = this.#queue.queue(this.#files[file].fd, "read", offset, address, bytes, tag);
    this.#file[slot] = file;
    this.#offset[slot] = offset;
    this.#bytes[slot] = bytes;
    this.#expected[slot] = expected;
    this.#queue.submit();
  }

  reap(atLeast: number): number {
    return this.inFlight === 0 ? 0 : this.#queue.collect(atLeast);
  }

  close(): void {
    this.#queue.close();
  }

  #finish(tag: number, result: number, slot: number): void {
    const bytes = this.#bytes[slot];
    if (result >= this.#expected[slot]) this.#done(tag, bytes, undefined);
    else {
      const file = this.#files[this.#file[slot]].path;
      this.#done(tag, bytes, { file, offset: this.#offset[slot], bytes, errno: Math.max(0, -result) });
    }
  }
}
