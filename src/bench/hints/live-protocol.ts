/** What the bench and the process of one measured run with hints say to each other. */
import type { HintEngine } from "../../flash/hints/open-hints.ts";

export interface LiveHintRequest {
  readonly kind: string;
  readonly promptTokens: number;
  readonly tokens: readonly number[];
}

export interface LiveHintJob {
  readonly modelPath: string;
  readonly policy: string;
  readonly expertBytes: number;
  readonly threads: number;
  /** Undefined: no hints. */
  readonly hints: { readonly path: string; readonly engine: HintEngine; readonly salt: string } | undefined;
  /**
   * Comes first and is not counted: the first prompt of a process takes 5 to 10 s where later ones take 4, whatever the policy,
   * because all memory is touched for the first time.
   */
  readonly warmUp: LiveHintRequest;
  readonly requests: readonly LiveHintRequest[];
}

export interface LiveHintFigures {
  readonly kind: string;
  readonly ttftMs: number;
  readonly stepMs: readonly number[];
  readonly stallMs: number;
  readonly decodeHitRate: number;
  readonly prefillBytesRead: number;
  readonly decodeBytesRead: number;
}

export interface LiveHintRun {
  readonly requests: readonly LiveHintFigures[];
  /** Most likely next tokens: the same for all, or something is wrong. */
  readonly predictions: readonly number[];
  /** Of the policy and of the store, by their own names. */
  readonly figures: Readonly<Record<string, number>>;
  readonly problem: string | undefined;
  readonly peakRssBytes: number;
  /** Written to the drive by the process, the store's closing included (proc_pid_io(5), write_bytes). */
  readonly bytesWritten: number;
}
