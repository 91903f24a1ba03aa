/** What `bench:simulator` and the process of its live runs say to each other. */

export interface LiveJob {
  readonly modelPath: string;
  readonly expertBytes: number;
  readonly policy: string;
  readonly threads: number;
  readonly promptTokens: number;
  readonly warmupTokens: number;
  readonly tokens: number;
  readonly textFile: string;
}

export interface LiveRun {
  readonly cacheBytes: number;
  readonly tokensPerSecond: number;
  /** Per counted token. */
  readonly computeMs: number;
  readonly stallMs: number;
  readonly managementMs: number;
  readonly bytesPerToken: number;
  readonly hitRate: number;
  readonly hits: number;
  readonly misses: number;
  readonly sample: {
    readonly length: number;
    readonly phases: readonly number[];
    readonly batches: readonly number[];
    readonly experts: readonly number[];
    readonly probs: readonly number[];
  };
}
