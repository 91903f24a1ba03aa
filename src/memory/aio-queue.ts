/**
 * The kernel's AIO queue: reads and writes are queued in memory, go to the kernel with one system call, and are collected with one.
 * Requests and answers lie in one anonymous mapping, written through a DataView; nothing is allocated per request. It owns no
 * buffers and no promises, and does not know what is read: `aio.ts` reads experts with it, the flash cache's files their pages.
 */
import { lastErrno, releaseMemory, reserveMemory, SystemCallError, syscall, viewMemory } from "./libc.ts";

/** io_setup, io_destroy, io_submit, io_getevents: asm/unistd_64.h and asm-generic/unistd.h. */
const SYSCALLS = {
  x64: { setup: 206, destroy: 207, submit: 209, getevents: 208 },
  arm64: { setup: 0, destroy: 1, submit: 2, getevents: 4 },
} as const;

// linux/aio_abi.h: struct iocb and struct io_event, and the operations.
const IOCB_BYTES = 64;
const EVENT_BYTES = 32;
const PREAD = 0;
const PWRITE = 1;
/** Head, tail and magic number of the kernel's ring of events, which lies at the address that names the context (fs/aio.c). */
const RING_HEAD_WORD = 2;
const RING_TAIL_WORD = 3;
const RING_MAGIC_WORD = 4;
const RING_MAGIC = 0xa10a10a1;
const RING_HEADER_BYTES = 32;
/** The mapping begins with the context (8 bytes) and a struct timespec. */
const TIMEOUT_AT = 16;
const EINTR = 4;
const EAGAIN = 11;

/** @param result bytes moved, or the negative errno @param slot as `queue` returned it; free again */
export type AioDone = (tag: number, result: number, slot: number) => void;

export class AioQueue {
  readonly #calls: (typeof SYSCALLS)[keyof typeof SYSCALLS];
  readonly #depth: number;
  readonly #done: AioDone;
  readonly #address: number;
  readonly #mappingBytes: number;
  readonly #view: DataView;
  /** Where the pointers to queued iocbs begin. */
  readonly #pointers: number;
  readonly #events: number;
  readonly #context: number;
  /** The kernel's ring, to see without a system call whether something is done; undefined where it looks different. */
  readonly #ring: Int32Array | undefined;
  readonly #freeSlots: Int32Array;
  readonly #tags: Float64Array;
  #free: number;
  #queued = 0;
  #closed = false;

  /**
   * @param depth requests queued and in flight at most
   * @throws SystemCallError where the kernel has no AIO or none to spare (/proc/sys/fs/aio-max-nr)
   */
  constructor(depth: number, done: AioDone) {
    const calls = SYSCALLS[process.arch as keyof typeof SYSCALLS];
    if (process.platform !== "linux" || calls === undefined)
      throw new SystemCallError("io_setup", 38, `no Linux AIO on ${process.platform} ${process.arch}`);
    this.#calls = calls;
    this.#depth = depth;
    this.#done = done;
    // First the context that io_setup fills in and a time-out, then iocbs, pointers to the queued ones, and events.
    this.#pointers = IOCB_BYTES + depth * IOCB_BYTES;
    this.#events = this.#pointers + depth * 8;
    this.#mappingBytes = this.#events + depth * EVENT_BYTES;
    this.#address = reserveMemory(this.#mappingBytes);
    this.#view = new DataView(viewMemory(this.#address, this.#mappingBytes));
    if (Number(syscall(calls.setup, depth, this.#address, 0, 0, 0)) !== 0) {
      const errno = lastErrno();
      releaseMemory(this.#address, this.#mappingBytes);
      throw new SystemCallError("io_setup", errno, `${depth} requests (see /proc/sys/fs/aio-max-nr)`);
    }
    this.#context = getU64(this.#view, 0);
    const ring = new Int32Array(viewMemory(this.#context, RING_HEADER_BYTES));
    this.#ring = ring[RING_MAGIC_WORD] >>> 0 === RING_MAGIC ? ring : undefined;
    this.#freeSlots = Int32Array.from({ length: depth }, (_, i) => depth - 1 - i);
    this.#free = depth;
    this.#tags = new Float64Array(depth);
  }

  /** Requests that can be queued. */
  get free(): number {
    return this.#free;
  }

  /** Requests queued or in flight. */
  get pending(): number {
    return this.#depth - this.#free;
  }

  /**
   * Puts a request into the next batch; needs `free` > 0. With O_DIRECT all three numbers are whole blocks of the device.
   * @returns the request's slot, 0 up to the depth, which no other one has until it is done
   */
  queue(fd: number, operation: "read" | "write", offset: number, address: number, bytes: number, tag: number): number {
    const slot = this.#freeSlots[--this.#free];
    this.#tags[slot] = tag;
    const at = IOCB_BYTES + slot * IOCB_BYTES;
    const view = this.#view;
    // Key, priority, flags and reserved words stay zero for ever.
    setU64(view, at, slot);
    view.setUint16(at + 16, operation === "read" ? PREAD : PWRITE, true);
    view.setUint32(at + 20, fd, true);
    setU64(view, at + 24, address);
    setU64(view, at + 32, bytes);
    setU64(view, at + 40, offset);
    setU64(view, this.#pointers + this.#queued * 8, this.#address + at);
    this.#queued++;
    return slot;
  }

  /** Sends the batch. What the kernel refuses is done with its errno. */
  submit(): void {
    while (this.#queued > 0) {
      const n = Number(syscall(this.#calls.submit, this.#context, this.#queued, this.#address + this.#pointers, 0, 0));
      if (n > 0) {
        this.#forgetSent(n);
        continue;
      }
      const errno = lastErrno();
      if (errno === EINTR) continue;
      if (errno === EAGAIN && this.pending > this.#queued) {
        this.collect(1);
        continue;
      }
      const iocb = getU64(this.#view, this.#pointers) - this.#address;
      this.#forgetSent(1);
      this.#finish(this.#view.getUint32(iocb, true), -errno);
    }
  }

  /** Whether `collect(0)` may find something. */
  get ready(): boolean {
    const ring = this.#ring;
    return ring === undefined || Atomics.load(ring, RING_TAIL_WORD) !== Atomics.load(ring, RING_HEAD_WORD);
  }

  /**
   * Hands finished requests to the callback, and returns their number. Blocks the thread until at least `atLeast` are, or until
   * `timeoutUs` is over. @param timeoutUs microseconds below a second @default no limit @param atMost the others wait for the next
   * call @default all
   */
  collect(atLeast: number, timeoutUs?: number, atMost = this.#depth): number {
    const wanted = Math.min(atLeast, atMost, this.pending - this.#queued);
    const events = this.#address + this.#events;
    let timeout = 0;
    if (timeoutUs !== undefined) {
      setU64(this.#view, TIMEOUT_AT + 8, timeoutUs * 1000);
      timeout = this.#address + TIMEOUT_AT;
    }
    let n = -1;
    while (n < 0) {
      // With a minimum of 0 and no time-out, io_getevents returns at once with what is there.
      n = Number(syscall(this.#calls.getevents, this.#context, wanted, atMost, events, timeout));
      if (n < 0 && lastErrno() !== EINTR)
        throw new SystemCallError("io_getevents", lastErrno(), "waiting for requests");
    }
    for (let i = 0; i < n; i++) {
      const at = this.#events + i * EVENT_BYTES;
      const result = this.#view.getInt32(at + 20, true) * 2 ** 32 + this.#view.getUint32(at + 16, true);
      this.#finish(this.#view.getUint32(at, true), result);
    }
    return n;
  }

  /** Waits for what is in flight and gives everything back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    while (this.pending > this.#queued) this.collect(this.pending);
    syscall(this.#calls.destroy, this.#context, 0, 0, 0, 0);
    releaseMemory(this.#address, this.#mappingBytes);
  }

  /** Moves what is still queued to the front, where callbacks may queue more behind it. */
  #forgetSent(count: number): void {
    this.#queued -= count;
    if (this.#queued === 0) return;
    const from = this.#pointers + count * 8;
    new Uint8Array(this.#view.buffer).copyWithin(this.#pointers, from, from + this.#queued * 8);
  }

  #finish(slot: number, result: number): void {
    this.#freeSlots[this.#free++] = slot;
    this.#done(this.#tags[slot], result, slot);
  }
}

// Two halves instead of setBigUint64: a BigInt per field would be garbage on the path of every request.
function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}
