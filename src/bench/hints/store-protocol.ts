/** What the comparison of stores and the process of one step of it say to each other. */

export type StoreName = "log" | "nemo" | "set" | "sqlite" | "lmdb";

export interface StoreJob {
  readonly store: StoreName;
  readonly path: string;
  /** Records in it. */
  readonly records: number;
  /**
   * `fill`: puts all records, flushes and closes. `gets`: opens and looks up random ones. `die`: puts some again and is killed in
   * the middle.
   */
  readonly step: "fill" | "gets" | "die";
  /** Look-ups of the step `gets`. */
  readonly gets: number;
}

export interface FillFigures {
  readonly name: string;
  readonly durability: string;
  readonly putsPerSecond: number;
  /** Flush and close included. */
  readonly seconds: number;
  readonly bytesWritten: number;
  readonly bytesOnDisk: number;
  readonly rssBytes: number;
}

export interface GetFigures {
  readonly openMs: number;
  readonly foundShare: number;
  /** Values that were not those put: none may be. */
  readonly wrong: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p9999Us: number;
  readonly rssBytes: number;
}
