/**
 * Linux AIO with O_DIRECT: reads run in the kernel while JavaScript and ggml do something else, without threads and
 * without a copy. Unlike io_uring it is allowed by the default seccomp profile of Docker. The `iocb` and `io_event`
 * records live in one anonymous mapping, written through a DataView; nothing is allocated per read.
 */
import { lastErrno, releaseMemory, reserveMemory, SystemCallError, syscall, viewMemory } from "./libc.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

/** io_setup, io_destroy, io_submit, io_getevents: asm/unistd_64.h and asm-generic/unistd.h. */
const SYSCALLS = {
  x64: { setup: 206, destroy: 207, submit: 209, getevents: 208 },
  arm64: { setup: 0, destroy: 1, submit: 2, getevents: 4 },
} as const;

const IOCB_BYTES = 64;
const EVENT_BYTES = 32;
/** The kernel's io_context_t, first word of our mapping. */
const CONTEXT_BYTES = 8;

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
  readonly #calls: (typeof SYSCALLS)[keyof typeof SYSCALLS];
  readonly #files: readonly AioFile[];
  readonly #done: ReadDone;
  readonly #depth: number;
  readonly #address: number;
  readonly #mappingBytes: number;
  readonly #view: DataView;
  readonly #pointers: number;
  readonly #events: number;
  readonly #context: number;
  /** Stack of unused iocb indices. */
  readonly #freeSlots: Int32Array;
  #free: number;
  readonly #slotTag: Float64Array;
  readonly #slotExpected: Float64Array;
  readonly #slotFile: Int32Array;
  #closed = false;

  constructor(files: readonly AioFile[], done: ReadDone, depth: number) {
    const calls = SYSCALLS[process.arch as keyof typeof SYSCALLS];
    if (process.platform !== "linux" || calls === undefined)
      throw new SystemCallError("io_setup", 38, `no Linux AIO on ${process.platform} ${process.arch}`);
    this.#calls = calls;
    this.#files = files;
    this.#done = done;
    this.#depth = depth;
    this.#pointers = CONTEXT_BYTES + depth * IOCB_BYTES;
    this.#events = this.#pointers + 8;
    this.#mappingBytes = this.#events + depth * EVENT_BYTES;
    this.#address = reserveMemory(this.#mappingBytes);
    this.#view = new DataView(viewMemory(this.#address, this.#mappingBytes));
    if (Number(syscall(calls.setup, depth, this.#address, 0, 0, 0)) !== 0) {
      const errno = lastErrno();
      releaseMemory(this.#address, this.#mappingBytes);
      throw new SystemCallError("io_setup", errno, `${depth} requests (see /proc/sys/fs/aio-max-nr)`);
    }
    this.#context = Number(this.#view.getBigUint64(0, true));
    this.#freeSlots = Int32Array.from({ length: depth }, (_, i) => depth - 1 - i);
    this.#free = depth;
    this.#slotTag = new Float64Array(depth);
    this.#slotExpected = new Float64Array(depth);
    this.#slotFile = new Int32Array(depth);
  }

  get free(): number {
    return this.#free;
  }

  get inFlight(): number {
    return this.#depth - this.#free;
  }

  submit(file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void {
    if (this.#free === 0) throw new Error("AIO queue full: reap before submitting more.");
    const slot = this.#freeSlots[--this.#free];
    this.#slotTag[slot] = tag;
    this.#slotExpected[slot] = expected;
    this.#slotFile[slot] = file;
    const at = CONTEXT_BYTES + slot * IOCB_BYTES;
    const view = this.#view;
    // struct iocb of linux/aio_abi.h. Opcode 0 (IOCB_CMD_PREAD), flags and reserved words stay zero for ever.
    setU64(view, at, slot);
    view.setUint32(at + 20, this.#files[file].fd, true);
    setU64(view, at + 24, address);
    setU64(view, at + 32, bytes);
    setU64(view, at + 40, offset);
    setU64(view, this.#pointers, this.#address + at);
    for (;;) {
      if (Number(syscall(this.#calls.submit, this.#context, 1, this.#address + this.#pointers, 0, 0)) === 1) return;
      const errno = lastErrno();
      // EAGAIN: the kernel's own queue is full, so wait for one of ours. Anything else ends this read as failed.
      if (errno === 11 && this.inFlight > 1) {
        this.reap(1);
        continue;
      }
      this.#freeSlots[this.#free++] = slot;
      this.#done(tag, bytes, { file: this.#files[file].path, offset, bytes, errno });
      return;
    }
  }

  reap(atLeast: number): number {
    const wanted = Math.min(atLeast, this.inFlight);
    if (this.inFlight === 0) return 0;
    let n = -1;
    while (n < 0) {
      const events = this.#address + this.#events;
      // With a minimum of 0 and no time-out, io_getevents returns at once with what is there.
      n = Number(syscall(this.#calls.getevents, this.#context, wanted, this.#depth, events, 0));
      if (n < 0 && lastErrno() !== 4 /* EINTR */)
        throw new SystemCallError("io_getevents", lastErrno(), "waiting for reads");
    }
    const view = this.#view;
    for (let i = 0; i < n; i++) {
      const at = this.#events + i * EVENT_BYTES;
      const slot = view.getUint32(at, true);
      const low = view.getUint32(at + 16, true);
      const high = view.getInt32(at + 20, true);
      const result = high * 2 ** 32 + low; // bytes read, or -errno
      const tag = this.#slotTag[slot];
      const iocb = CONTEXT_BYTES + slot * IOCB_BYTES;
      const bytes = getU64(view, iocb + 32);
      this.#freeSlots[this.#free++] = slot;
      if (result >= this.#slotExpected[slot]) this.#done(tag, bytes, undefined);
      else {
        const offset = getU64(view, iocb + 40);
        const file = this.#files[this.#slotFile[slot]].path;
        this.#done(tag, bytes, { file, offset, bytes, errno: result < 0 ? -result : 0 });
      }
    }
    return n;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    while (this.inFlight > 0) this.reap(this.inFlight);
    syscall(this.#calls.destroy, this.#context, 0, 0, 0, 0);
    releaseMemory(this.#address, this.#mappingBytes);
  }
}

// Two halves instead of setBigUint64: a BigInt per field would be garbage on the path of every read.
function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}
