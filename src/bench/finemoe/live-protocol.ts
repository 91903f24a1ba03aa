/** What the suite and the process of one measured run say to each other. */
import type { RequestFigures } from "./figures.ts";

/** Tokens of a request: the prompt, and what is forced behind it. */
export interface LiveRequest {
  readonly request: number;
  readonly domain: string;
  readonly promptTokens: number;
  readonly tokens: readonly number[];
}

/** One router stop, as `RecordedStop`, in plain numbers. */
export interface LiveStop {
  readonly layer: number;
  readonly distinct: readonly number[];
}

export interface LiveJob {
  readonly modelPath: string;
  readonly policy: string;
  readonly expertBytes: number;
  readonly threads: number;
  readonly requests: readonly LiveRequest[];
  /** What the policy learned before, in base64. */
  readonly learned?: string | undefined;
  /** File of the predictor that `promoe` is made with. */
  readonly predictorFile?: string | undefined;
  /** Tell the router stops of the run: what policies that know the future are given. */
  readonly record: boolean;
  /** For those: the stops to come. */
  readonly future?: readonly LiveStop[] | undefined;
}

export interface LiveRun {
  /** What was planned, which the engine rounds to whole pages. */
  readonly cacheBytes: number;
  readonly requests: readonly RequestFigures[];
  readonly bytesUnused: number;
  readonly mechanisms: Readonly<Record<string, number>>;
  readonly learns: boolean;
  /** Inside the policy's own code, ms per decode step. */
  readonly policyMs: number;
  /** By request: the most likely next token after its prompt and each forced token. */
  readonly predictions: readonly (readonly number[])[];
  readonly stops: readonly LiveStop[] | undefined;
}
