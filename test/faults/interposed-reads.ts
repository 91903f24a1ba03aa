/**
 * A read engine between expert memory and the real one, for tests: it can pretend a read, fail it, hold it back, or do
 * something first. It sits at the seam where the engine opens its files (`SessionOptions.openFiles`).
 */
import { openFiles } from "../../src/memory/open-files.ts";
import type { ReadDone, ReadEngine } from "../../src/memory/read-engine.ts";

export interface ReadRequest {
  readonly file: number;
  readonly offset: number;
  readonly bytes: number;
  /** Below 0 for dense weights, else `key * stages + stage` of an expert. */
  readonly tag: number;
  /** Requests before this one. */
  readonly index: number;
}

/** What becomes of a request. */
export type Treatment =
  | "read"
  /** Reported as done although nothing was read. */
  | "forget"
  | { readonly errno: number }
  /** Read after so many milliseconds. */
  | { readonly delayMs: number };

/** An `openFiles` whose reads are treated as `treat` says. */
export function interpose(treat: (request: ReadRequest) => Treatment): typeof openFiles {
  return (paths, done, io) => {
    const opened = openFiles(paths, done, io);
    const reads = new InterposedReads(opened.reads, paths, done, treat);
    return { ...opened, reads, close: opened.close };
  };
}

interface Held {
  readonly dueMs: number;
  readonly finish: () => void;
}

class InterposedReads implements ReadEngine {
  readonly #inner: ReadEngine;
  readonly #paths: readonly string[];
  readonly #done: ReadDone;
  readonly #treat: (request: ReadRequest) => Treatment;
  readonly #held: Held[] = [];
  #index = 0;

  constructor(inner: ReadEngine, paths: readonly string[], done: ReadDone, treat: (request: ReadRequest) => Treatment) {
    this.#inner = inner;
    this.#paths = paths;
    this.#done = done;
    this.#treat = treat;
  }

  get name(): ReadEngine["name"] {
    return this.#inner.name;
  }

  get free(): number {
    return Math.max(0, this.#inner.free - this.#held.length);
  }

  get inFlight(): number {
    return this.#inner.inFlight + this.#held.length;
  }

  submit(file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void {
    const treatment = this.#treat({ file, offset, bytes, tag, index: this.#index++ });
    const read = () => this.#inner.submit(file, offset, address, bytes, expected, tag);
    if (treatment === "read") read();
    else if (treatment === "forget") this.#hold(0, () => this.#done(tag, bytes, undefined));
    else if ("delayMs" in treatment) this.#hold(treatment.delayMs, read);
    else
      this.#hold(0, () => this.#done(tag, bytes, { file: this.#paths[file], offset, bytes, errno: treatment.errno }));
  }

  reap(atLeast: number): number {
    const wanted = Math.min(atLeast, this.inFlight);
    const before = this.inFlight;
    for (;;) {
      const now = performance.now();
      for (const held of this.#held.filter(({ dueMs }) => dueMs <= now)) {
        this.#held.splice(this.#held.indexOf(held), 1);
        held.finish();
      }
      this.#inner.reap(this.#held.length === 0 && this.#inner.inFlight > 0 ? Math.min(1, wanted) : 0);
      if (before - this.inFlight >= wanted) return before - this.inFlight;
      if (this.#held.length > 0) Atomics.wait(SLEEP, 0, 0, 0.2);
    }
  }

  close(): void {
    while (this.inFlight > 0) this.reap(this.inFlight);
    this.#inner.close();
  }

  #hold(delayMs: number, finish: () => void): void {
    this.#held.push({ dueMs: performance.now() + delayMs, finish });
  }
}

const SLEEP = new Int32Array(new SharedArrayBuffer(4));
