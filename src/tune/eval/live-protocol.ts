/** What an evaluation and the process of one run on the engine say to each other. */
import type { RouterOption } from "../../engine/router-override.ts";
import type { CacheBias } from "../../routing/cache-bias.ts";

/** A document: its start is computed at once, the rest token by token. */
export interface LiveDocument {
  readonly promptTokens: number;
  readonly tokens: readonly number[];
}

export interface LiveJob {
  readonly model: string;
  readonly router: RouterOption | undefined;
  readonly cacheBias: CacheBias | undefined;
  readonly policy: string;
  readonly expertBytes: number;
  readonly threads: number;
  readonly documents: readonly LiveDocument[];
}

/** Of tokens behind the starts alone. */
export interface LiveRun {
  readonly stepMs: readonly number[];
  readonly stallMs: number;
  readonly hits: number;
  readonly lateHits: number;
  readonly misses: number;
  /** Demanded and read ahead. */
  readonly bytes: number;
  readonly swapRate: number | null;
}
