/**
 * What a cache is asked, as columns of a batch that is filled over and over: tens of millions of events pass through a bench, and
 * an object for each would cost more than the cache. An event names its key by a 64-bit id (`key-bytes.ts` makes bytes of it).
 */

/** What an event's `operation` can be. */
export const GET = 0;
export const SET = 1;
export const DELETE = 2;

export interface EventBatch {
  readonly capacity: number;
  /** Lower and upper half of the key's id. */
  readonly idLow: Uint32Array;
  readonly idHigh: Uint32Array;
  /** `GET`, `SET` or `DELETE`. */
  readonly operation: Uint8Array;
  /** Length of the key, at least `MIN_KEY_BYTES`. */
  readonly keyBytes: Uint16Array;
  /** Key + value: of a get, what a fill after a miss would put. */
  readonly objectBytes: Uint32Array;
}

/** @param capacity events; thousands, so that what a batch costs is shared by many */
export function createEventBatch(capacity: number): EventBatch {
  return {
    capacity,
    idLow: new Uint32Array(capacity),
    idHigh: new Uint32Array(capacity),
    operation: new Uint8Array(capacity),
    keyBytes: new Uint16Array(capacity),
    objectBytes: new Uint32Array(capacity),
  };
}

/** Events in an order: drawn (`Workload`) or read from a file. */
export interface EventSource {
  readonly name: string;
  /** Overwrites the batch from its start. How many events there are now; 0 when there are no more. */
  next(batch: EventBatch): number | Promise<number>;
}

/** Events that are drawn: without end, and the same for the same seed. */
export interface Workload extends EventSource {
  next(batch: EventBatch): number;
}
