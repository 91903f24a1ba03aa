/** Where hints are kept: bytes under keys, merged with what is there. Any hint may be gone at any time; a wrong one costs speed. */

export interface HintStore {
  /** What is known under each key, read side by side. @throws like the store behind it */
  lookUp(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]>;
  /** Takes in one more observation: reads what is there, merges, and writes if that says something new. */
  record(key: Uint8Array, observed: Uint8Array): Promise<void>;
  /** Writes what waits in memory. */
  flush(): Promise<void>;
  close(): Promise<void>;
  stats(): HintStoreStats;
}

/** Since the store was opened. */
export interface HintStoreStats {
  readonly lookUps: number;
  readonly found: number;
  readonly recorded: number;
  /** Of them, new or changed, so that they were written, and their bytes with keys. */
  readonly written: number;
  readonly bytesWritten: number;
  readonly ramBytes: number;
  /** Why nothing is written any more. */
  readonly readOnly: string | undefined;
}

/** An old value after one more observation; undefined: nothing new. */
export type MergeHints = (old: Uint8Array | undefined, observed: Uint8Array) => Uint8Array | undefined;
