/**
 * Which contenders run under which limit, how often and in which order. Pure: `run-suite.ts` does it.
 */
import type { Scenario } from "./results.ts";

export type Contender =
  | { readonly system: "llama.cpp" }
  | { readonly system: "warmset"; readonly policy: string; readonly prefetch: boolean };

/** Contenders that are compared with each other: the same limit, the same tokens. */
export interface Cell {
  readonly scenario: Scenario;
  /** Share of the model file that may be in memory. */
  readonly memoryFraction: number;
  readonly promptTokens: number;
  /** Forced tokens over all windows; 1 for cold starts. */
  readonly decodeTokens: number;
  readonly warmupTokens: number;
  readonly contenders: readonly Contender[];
}

export interface SuiteOptions {
  /** Names of policies. The first one also runs without prefetching, in the fitting case and cold. */
  readonly policies: readonly string[];
  /** Limits as shares of the model file. @default [0.5, 0.33, 0.2] */
  readonly memoryFractions?: readonly number[];
  /** Counted and warm-up tokens of a run. @default 128 */
  readonly decodeTokens?: number;
  /** Of them, how many come before the count starts. @default 32 */
  readonly warmupTokens?: number;
  /** @default 8 */
  readonly promptTokens?: number;
  /** Also run with memory for everything, cold starts and without prefetching. @default true */
  readonly complete?: boolean;
}

export const DECODE_TOKENS = 128;
export const WARMUP_TOKENS = 32;
/** Texts after the first one begin with a prompt of one token, see `WindowOptions`. */
export const LATER_PROMPT_TOKENS = 1;
/** Prompts of cold starts, tokens: a short question, and a micro-batch that uses nearly every expert. */
const COLD_PROMPTS = [8, 64];
/** The middle one of the standard limits. */
const COLD_FRACTION = 0.33;
/** File, context, libraries and room for the kernel's read-ahead. */
const FITTING_FRACTION = 1.25;

/** Throws `RangeError` when no token would be counted. */
export function planSuite(options: SuiteOptions): Cell[] {
  const { memoryFractions = [0.5, 0.33, 0.2], policies, complete = true } = options;
  const { decodeTokens = DECODE_TOKENS, warmupTokens = WARMUP_TOKENS, promptTokens = 8 } = options;
  if (warmupTokens >= decodeTokens)
    throw new RangeError(`${decodeTokens} tokens leave none to count after ${warmupTokens} of warm-up`);
  const ours = policies.map((policy): Contender => ({ system: "warmset", policy, prefetch: true }));
  const best = ours.slice(0, 1);
  const withoutPrefetch = best.map((contender): Contender => ({ ...contender, prefetch: false }) as Contender);
  const stock: Contender = { system: "llama.cpp" };
  const decode = { promptTokens, decodeTokens, warmupTokens };
  const limited = memoryFractions.map(
    (memoryFraction): Cell => ({
      scenario: "limited",
      memoryFraction,
      ...decode,
      contenders: [stock, ...ours, ...(complete ? withoutPrefetch : [])],
    }),
  );
  if (!complete) return limited;
  const cold = COLD_PROMPTS.map(
    (prompt): Cell => ({
      scenario: "cold",
      memoryFraction: COLD_FRACTION,
      promptTokens: prompt,
      decodeTokens: 1,
      warmupTokens: 0,
      contenders: [stock, ...best],
    }),
  );
  const fits: Cell = {
    scenario: "fits",
    memoryFraction: FITTING_FRACTION,
    ...decode,
    contenders: [stock, ...best],
  };
  return [fits, ...limited, ...cold];
}

/** A B, B A, A B, ...: whatever drifts during a bench hits each contender first as often as last. */
export function alternatingOrder<T>(contenders: readonly T[], repetition: number): readonly T[] {
  return repetition % 2 === 0 ? contenders : [...contenders].reverse();
}

/** What a contender is called in messages. */
export function contenderName(contender: Contender): string {
  if (contender.system === "llama.cpp") return contender.system;
  return `warmset ${contender.policy}${contender.prefetch ? "" : " without prefetch"}`;
}
