/**
 * The seam between "these bytes of that file belong at this address" and how the operating system is asked for them.
 * Implementations differ in concurrency (`aio.ts`: the kernel's queue; `pread-pool.ts`: threads), never in result.
 * Nothing here knows about experts.
 */

/** Called once per finished read. `error` is undefined on success. The tag is the one given to `submit`. */
export type ReadDone = (tag: number, bytes: number, error: ReadFailure | undefined) => void;

export interface ReadFailure {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  /** errno of the failed read, or 0 when the file was shorter than it was when it was opened. */
  readonly errno: number;
}

export interface ReadEngine {
  readonly name: "aio" | "pread-pool";
  /** Requests that may still be submitted before one must be reaped. */
  readonly free: number;
  readonly inFlight: number;
  /**
   * Starts one read of `bytes` at `offset` of file `file` (an index into the files given at creation) to `address`.
   * `expected` <= bytes is what the file holds there: the last page of a file is read whole but arrives short.
   */
  submit(file: number, offset: number, address: number, bytes: number, expected: number, tag: number): void;
  /** Hands finished reads to the callback; waits until at least `atLeast` are done. Returns how many there were. */
  reap(atLeast: number): number;
  /** Waits for what is in flight and gives everything back. */
  close(): void;
}
