/**
 * Pages by Linux AIO past the page cache. Requests of one turn of the event loop go out in one system call; while any is in flight
 * each turn of the loop looks into the kernel's ring, and sleeps there for 0.1 ms at most. With none in flight nothing runs.
 */
import { AioQueue } from "../../memory/aio-queue.ts";
import { releaseMemory, reserveMemory, viewMemory } from "../../memory/libc.ts";
import { failedRead, failedWrite } from "./io-errors.ts";
import type { PageFile, PageIo } from "./page-io.ts";

export interface AioPagesOptions {
  /** Requests of up to 16 KiB in flight at most; more wait. @default 256, what the queue of a block device takes (nr_requests) */
  readonly inFlight?: number;
}

/** O_DIRECT needs aligned memory, so bytes pass through slots of ours. A set is one page, an object across pages two. */
const SMALL_BYTES = 16 * 1024;
/** Larger requests are cut into slices of this size: drives are flat from 256 KiB, and a copy of 1 MiB takes 0.1 ms of the loop. */
const SLICE_BYTES = 2 ** 20;
const SLICES = 4;
/** Under load a flash drive is silent for some milliseconds; after so many the loop looks only once in each. */
const SILENT_MS = 10;
/**
 * A turn of a loop that does nothing else sleeps in the kernel for so long at most: looking without a pause would take a whole core
 * from the threads that compute, and be the first to lose it to them (twice the reads per second on a machine that is busy).
 */
const SLEEP_US = 100;
/** Turns closer than this have nothing in between. */
const IDLE_MS = 0.03;
/**
 * Drives end requests by the dozen. Answered all at once, the next ones would all be asked for at the end, with the drive idle
 * meanwhile; so few a turn that it has new ones while the others are answered. Gets of 16 in flight over the drive's own reads: all
 * 0.72, 16 a turn 0.77, 8 0.92, 4 1.04, 2 0.80, where system calls weigh (by hand, once; no option changes it).
 */
const FEW = 4;
/** Where the loop has so much else to do in a turn, few would be too few. */
const BUSY_MS = 1;

interface Waiting {
  readonly write: boolean;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** @throws SystemCallError where the kernel has no AIO. @param file open with O_DIRECT */
export function createAioPages(file: PageFile, options: AioPagesOptions = {}): PageIo {
  return new AioPages(file, options.inFlight ?? 256);
}

class AioPages implements PageIo {
  readonly name = "aio";
  readonly #file: PageFile;
  readonly #queue: AioQueue;
  readonly #address: number;
  readonly #mappingBytes: number;
  /** Of both sizes: small ones first, then slices. A slot's number is its tag in the queue. */
  readonly #memory: Uint8Array[];
  readonly #addresses: Float64Array;
  readonly #small: SlotLine;
  readonly #slices: SlotLine;
  readonly #requests: (Waiting | undefined)[];
  readonly #smallCount: number;
  // One closure each, not one per turn.
  readonly #submitLater = () => process.nextTick(this.#submitNow);
  readonly #submitNow = () => {
    this.#scheduled = false;
    this.#submit();
  };
  readonly #turnNow = () => this.#turn();
  #scheduled = false;
  #turning = false;
  #lastDoneMs = 0;
  #lastTurnMs = 0;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(file: PageFile, inFlight: number) {
    this.#file = file;
    this.#smallCount = inFlight;
    const slots = inFlight + SLICES;
    this.#queue = new AioQueue(slots, (slot, result) => this.#finish(slot, result));
    this.#mappingBytes = inFlight * SMALL_BYTES + SLICES * SLICE_BYTES;
    this.#address = reserveMemory(this.#mappingBytes);
    const memory = viewMemory(this.#address, this.#mappingBytes);
    this.#memory = [];
    this.#addresses = new Float64Array(slots);
    for (let slot = 0, at = 0; slot < slots; slot++) {
      const bytes = slot < inFlight ? SMALL_BYTES : SLICE_BYTES;
      this.#memory.push(new Uint8Array(memory, at, bytes));
      this.#addresses[slot] = this.#address + at;
      at += bytes;
    }
    this.#requests = new Array<Waiting | undefined>(slots).fill(undefined);
    this.#small = new SlotLine(0, inFlight);
    this.#slices = new SlotLine(inFlight, SLICES);
  }

  read(offset: number, into: Uint8Array): Promise<Uint8Array> {
    if (into.length <= SLICE_BYTES) return this.#ask(false, offset, into);
    return this.#inSlices(false, offset, into).then(() => into);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await (bytes.length <= SLICE_BYTES ? this.#ask(true, offset, bytes) : this.#inSlices(true, offset, bytes));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#queue.pending > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
    this.#queue.close();
    releaseMemory(this.#address, this.#mappingBytes);
  }

  #ask(write: boolean, offset: number, bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const request = { write, offset, bytes, resolve, reject };
      const line = bytes.length <= SMALL_BYTES ? this.#small : this.#slices;
      const slot = line.take();
      if (slot === undefined) line.waiting.push(request);
      else this.#start(slot, request);
      // Copying the next slice takes longer than the call that sends this one.
      if (line === this.#slices) this.#submit();
    });
  }

  /** All slices are settled when this is: until then the kernel's answers belong to the caller's memory. */
  async #inSlices(write: boolean, offset: number, bytes: Uint8Array): Promise<void> {
    const slices: Promise<Uint8Array>[] = [];
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      slices.push(this.#ask(write, offset + at, bytes.subarray(at, at + SLICE_BYTES)));
    }
    const failed = (await Promise.allSettled(slices)).find((slice) => slice.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #start(slot: number, request: Waiting): void {
    const { write, offset, bytes } = request;
    if (write) this.#memory[slot].set(bytes);
    this.#requests[slot] = request;
    const operation = write ? "write" : "read";
    this.#queue.queue(this.#file.fd, operation, offset, this.#addresses[slot], bytes.length, slot);
    if (this.#scheduled) return;
    this.#scheduled = true;
    // What is asked for by the code that runs now, and by all promises that it settles, makes one batch.
    queueMicrotask(this.#submitLater);
  }

  #submit(): void {
    this.#queue.submit();
    this.#checkDrained();
    if (this.#turning || this.#queue.pending === 0) return;
    this.#turning = true;
    this.#lastDoneMs = performance.now();
    this.#lastTurnMs = this.#lastDoneMs;
    setImmediate(this.#turnNow);
  }

  #turn(): void {
    // Requests that the kernel refused end without a turn; the queue may be closed already.
    if (this.#queue.pending === 0) {
      this.#turning = false;
      return;
    }
    const nowMs = performance.now();
    const isSoon = nowMs - this.#lastDoneMs < SILENT_MS;
    const betweenMs = nowMs - this.#lastTurnMs;
    const isReady = this.#queue.ready;
    const most = betweenMs < BUSY_MS ? FEW : undefined;
    const sleeps = isSoon && betweenMs < IDLE_MS && !isReady;
    const done = sleeps
      ? this.#queue.collect(1, SLEEP_US, most)
      : isReady
        ? this.#queue.collect(0, undefined, most)
        : 0;
    if (this.#queue.pending === 0) {
      this.#turning = false;
      this.#checkDrained();
      return;
    }
    if (isSoon) setImmediate(this.#turnNow);
    else setTimeout(this.#turnNow, 1);
    this.#lastTurnMs = performance.now();
    if (done > 0) this.#lastDoneMs = this.#lastTurnMs;
  }

  #finish(slot: number, result: number): void {
    const request = this.#requests[slot] as Waiting;
    this.#requests[slot] = undefined;
    const { write, offset, bytes, resolve, reject } = request;
    if (result === bytes.length) {
      if (!write) {
        const memory = this.#memory[slot];
        bytes.set(result === memory.length ? memory : memory.subarray(0, result));
      }
      resolve(bytes);
    } else {
      const failed = write ? failedWrite : failedRead;
      reject(failed(this.#file.path, offset, Math.max(0, -result)));
    }
    const line = slot < this.#smallCount ? this.#small : this.#slices;
    const next = line.waiting.shift();
    if (next === undefined) line.give(slot);
    else this.#start(slot, next);
  }

  #checkDrained(): void {
    if (this.#queue.pending === 0) this.#drained?.();
  }
}

/** Slots of one size, and who waits for one. */
class SlotLine {
  readonly waiting: Waiting[] = [];
  readonly #free: number[];

  constructor(first: number, count: number) {
    this.#free = Array.from({ length: count }, (_, i) => first + count - 1 - i);
  }

  take(): number | undefined {
    return this.#free.pop();
  }

  give(slot: number): void {
    this.#free.push(slot);
  }
}
