/**
 * What a change to a model's routing costs and saves, measured: the same texts, teacher-forced, once as the model is and
 * once changed (a cache bias, or tuned routers). Each text's first tokens are computed together as a prompt, which is
 * never biased; the others one by one, and only those are counted.
 */
import type { CacheCounters } from "../cache/statistics.ts";
import { openSession } from "../engine/open-session.ts";
import type { SessionOptions } from "../engine/options.ts";
import type { Session } from "../engine/session.ts";
import { BaseLogits } from "./base-logits.ts";
import type { CacheBiasStatistics } from "./cache-prior-router.ts";
import { LogitDrift, type LogitDriftStatistics } from "./logit-drift.ts";

export interface ForcedText {
  readonly domain: string;
  /** Tokens that are computed together first, at least 1. */
  readonly promptTokens: number;
  /** At least two more than the prompt: each token but the last predicts the one after it. */
  readonly tokens: readonly number[];
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  /** Tokens done of how many, after each. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Of decoded tokens alone. */
export interface ForcedRun {
  readonly tokens: number;
  /** Experts that were complete when they were chosen, of all that were; 1 when nothing was streamed. */
  readonly hitRate: number;
  readonly missesPerToken: number;
  /** Demanded and read ahead. */
  readonly bytesPerToken: number;
  readonly msPerToken: number;
  readonly cacheBias: CacheBiasStatistics | undefined;
}

export interface MeasuredDrift extends LogitDriftStatistics {
  readonly run: ForcedRun;
  readonly domains: readonly (LogitDriftStatistics & { readonly domain: string })[];
}

/** Runs the model as it is; its logits are what `measureDrift` compares with. Dispose of them. */
export async function recordBase(
  model: string,
  texts: readonly ForcedText[],
  session: SessionOptions,
  options: MeasureOptions = {},
): Promise<{ readonly logits: BaseLogits; readonly run: ForcedRun }> {
  let logits: BaseLogits | undefined;
  try {
    const run = await forceTexts(model, texts, session, options, (row) => {
      logits ??= new BaseLogits(row.length);
      logits.append(row);
    });
    return { logits: logits as BaseLogits, run };
  } catch (error) {
    logits?.[Symbol.dispose]();
    throw error;
  }
}

/** Runs the same texts changed. @param base of the same texts, from `recordBase` */
export async function measureDrift(
  model: string,
  texts: readonly ForcedText[],
  base: BaseLogits,
  session: SessionOptions,
  options: MeasureOptions = {},
): Promise<MeasuredDrift> {
  const all = new LogitDrift();
  const domains = new Map<string, LogitDrift>();
  let index = 0;
  const run = await forceTexts(model, texts, session, options, (row, { domain }, next) => {
    const reference = base.row(index++);
    const own = domains.get(domain) ?? new LogitDrift();
    domains.set(domain, own);
    own.add(reference, row, next);
    all.add(reference, row, next);
  });
  return {
    ...all.statistics(),
    run,
    domains: [...domains].map(([domain, drift]) => ({ domain, ...drift.statistics() })),
  };
}

type OnLogits = (logits: Float32Array, text: ForcedText, next: number) => void;

async function forceTexts(
  model: string,
  texts: readonly ForcedText[],
  sessionOptions: SessionOptions,
  { signal, onProgress }: MeasureOptions,
  onLogits: OnLogits,
): Promise<ForcedRun> {
  const longest = Math.max(...texts.map(({ tokens }) => tokens.length));
  using session = openSession(model, { contextSize: longest, ...sessionOptions });
  const steps = ({ tokens, promptTokens }: ForcedText) => tokens.length - 1 - promptTokens;
  const total = texts.reduce((sum, text) => sum + steps(text), 0);
  let done = 0;
  let ms = 0;
  for (const text of texts) {
    const { tokens, promptTokens } = text;
    if (promptTokens < 1 || steps(text) < 1)
      throw new RangeError(`${text.domain}: ${tokens.length} tokens are too few behind a prompt of ${promptTokens}`);
    session.context.removePositions(0);
    session.feed(tokens.slice(0, promptTokens), 0);
    for (let position = promptTokens; position + 1 < tokens.length; position++) {
      const start = performance.now();
      const logits = session.feed([tokens[position]], position);
      ms += performance.now() - start;
      onLogits(logits, text, tokens[position + 1]);
      onProgress?.(++done, total);
      // Without a turn of the event loop no signal arrives.
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
  }
  return forcedRun(session, total, ms);
}

function forcedRun(session: Session, tokens: number, ms: number): ForcedRun {
  const { cache, cacheBias } = session.statistics();
  const {
    hits,
    lateHits,
    misses,
    bytesDemanded,
    bytesPrefetched,
  }: Pick<CacheCounters, "hits" | "lateHits" | "misses" | "bytesDemanded" | "bytesPrefetched"> = cache?.decode ?? {
    hits: 1,
    lateHits: 0,
    misses: 0,
    bytesDemanded: 0,
    bytesPrefetched: 0,
  };
  return {
    tokens,
    hitRate: hits / (hits + lateHits + misses),
    missesPerToken: misses / tokens,
    bytesPerToken: (bytesDemanded + bytesPrefetched) / tokens,
    msPerToken: ms / tokens,
    cacheBias,
  };
}
