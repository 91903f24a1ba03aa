/**
 * One completion on a session: prompt in, pieces of text out, until the model ends, a stop string appears or a limit
 * is reached. It decides what is sampled and when to stop; computing is the session's. Sequence 0 keeps the tokens of
 * the last call, and what a new prompt shares with them is not computed again.
 */
import { createSampler, type SamplerOptions, TokenDecoder } from "../llama/index.ts";
import { ContextFullError, GenerationAbortedError } from "./errors.ts";
import type { Session } from "./session.ts";
import { StopStrings } from "./stop-strings.ts";

export interface GenerationLimits {
  /** Tokens to generate at most. @default until the context is full */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. @default none */
  readonly stop?: readonly string[];
  /** Go on after the model's end-of-generation token. @default false */
  readonly ignoreEndOfGeneration?: boolean;
}

/** The model ended, a stop string appeared, a limit was reached, or the caller gave up. */
export type StopReason = "end" | "stop" | "length" | "aborted";

export interface GenerationEvent {
  /** Text that is certain to belong to the answer; may be empty while a character or a stop string is incomplete. */
  readonly text: string;
  readonly token: number;
}

export interface GenerationSummary {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly promptTokens: number;
  /** Of those, tokens that were in the context already. */
  readonly cachedTokens: number;
  readonly stopReason: StopReason;
  /** From the start of the call to the first token. */
  readonly promptMs: number;
  /** One per further token. */
  readonly tokenMs: readonly number[];
  readonly seed: number | undefined;
}

/** What sequence 0 of a session holds between calls. */
export class GenerationState {
  tokens: number[] = [];
}

/** Yields an event per token and returns the summary; of a run that was aborted, the summary of what there was. */
export function* generate(
  session: Session,
  state: GenerationState,
  prompt: Int32Array,
  sampling: SamplerOptions,
  limits: GenerationLimits,
): Generator<GenerationEvent, GenerationSummary> {
  const { context, model } = session;
  const { vocabulary } = model;
  if (prompt.length === 0) throw new RangeError("The prompt is empty: give at least one token.");
  if (prompt.length >= context.contextSize) throw new ContextFullError(prompt.length, context.contextSize);
  const maxTokens = Math.min(limits.maxTokens ?? Number.POSITIVE_INFINITY, context.contextSize - prompt.length);
  const sampler = createSampler(model, sampling);
  const stops = new StopStrings(limits.stop ?? []);
  const tokens: number[] = [];
  const tokenMs: number[] = [];
  let cachedTokens = 0;
  let text = "";
  let promptMs = 0;
  let stopReason: StopReason = "length";
  const summary = (): GenerationSummary => {
    return {
      tokens,
      text,
      promptTokens: prompt.length,
      cachedTokens,
      stopReason,
      promptMs,
      tokenMs,
      seed: sampler.seed,
    };
  };
  try {
    const start = performance.now();
    cachedTokens = reusePrefix(session, state, prompt);
    const fresh = prompt.subarray(cachedTokens);
    session.startRequest();
    session.feed(fresh, cachedTokens);
    state.tokens = Array.from(prompt);
    sampler.acceptPrompt(prompt);
    const decoder = new TokenDecoder(vocabulary);
    for (let before = start; tokens.length < maxTokens; ) {
      const token = sampler.sample(context, -1);
      const now = performance.now();
      if (tokens.length === 0) promptMs = now - start;
      else tokenMs.push(now - before);
      before = now;
      const ended = vocabulary.isEndOfGeneration(token);
      if (ended && limits.ignoreEndOfGeneration !== true) {
        stopReason = "end";
        break;
      }
      tokens.push(token);
      const piece = stops.push(decoder.push(token));
      text += piece;
      yield { text: piece, token };
      if (stops.found) {
        stopReason = "stop";
        break;
      }
      if (tokens.length < maxTokens) {
        session.feed([token], state.tokens.length);
        state.tokens.push(token);
      }
    }
    const rest = stopReason === "stop" ? "" : stops.push(decoder.flush()) + stops.flush();
    text += rest;
    if (rest !== "") yield { text: rest, token: -1 };
    return summary();
  } catch (error) {
    // The session has undone the failed call; what it holds now is what was fed before.
    forgetUnlessFed(session, state);
    if (!(error instanceof GenerationAbortedError)) throw error;
    stopReason = "aborted";
    const rest = stops.flush();
    text += rest;
    if (rest !== "") yield { text: rest, token: -1 };
    return summary();
  } finally {
    sampler.dispose();
  }
}

/** Keeps the common prefix of what the context holds and the new prompt, but for the last token: its logits are needed. */
function reusePrefix(session: Session, state: GenerationState, prompt: Int32Array): number {
  let common = 0;
  const most = Math.min(state.tokens.length, prompt.length - 1);
  while (common < most && state.tokens[common] === prompt[common]) common++;
  if (common === state.tokens.length) return common;
  // Recurrent and hybrid models cannot forget single positions: start again.
  if (common > 0 && session.context.removePositions(0, common)) {
    state.tokens.length = common;
    return common;
  }
  session.context.removePositions(0);
  state.tokens = [];
  return 0;
}

function forgetUnlessFed(session: Session, state: GenerationState): void {
  if (session.context.lastPosition(0) === state.tokens.length - 1) return;
  session.context.removePositions(0);
  state.tokens = [];
}
