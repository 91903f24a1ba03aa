/** A live run of the engine, with everything a replay needs of it: what the routers chose, and what the cache decided. */
import type { ExpertCache } from "../../src/cache/expert-cache.ts";
import type { Policy, Residents, RouterEvent } from "../../src/cache/policy.ts";
import { type ExpertKey, NO_EXPERT } from "../../src/cache/shape.ts";
import type { Session } from "../../src/engine/session.ts";
import type { RouterStop } from "../../src/llama/graph-hook.ts";
import { DECODE, NO_ID, PREFILL, type TraceSample } from "../../src/trace/trace.ts";

/**
 * The policy, with a log of what the cache asked and was answered, in the words of `ExpertCacheOptions.onDecision`. A hit
 * or a miss is read off the cache itself. For policies that read nothing ahead.
 */
export function loggedPolicy(policy: Policy, cache: () => ExpertCache, log: string[]): Policy {
  const { discard } = policy;
  return {
    name: policy.name,
    needs: policy.needs,
    begin: (shape, budgetExperts) => policy.begin(shape, budgetExperts),
    iteration: (start) => policy.iteration(start),
    routed(event: RouterEvent) {
      const chosen = [...event.distinct.subarray(0, event.distinctCount)] as ExpertKey[];
      for (const key of chosen) if (cache().isResident(key)) log.push(`hit ${key}`);
      for (const key of chosen) if (!cache().has(key)) log.push(`miss ${key}`);
      policy.routed(event);
    },
    prefetch: (link) => policy.prefetch(link),
    loading: (key, kind) => policy.loading?.(key, kind),
    ...(discard === undefined
      ? {}
      : {
          discard(candidates: Residents) {
            const key = discard(candidates);
            if (key !== NO_EXPERT) log.push(`discard ${key}`);
            return key;
          },
        }),
    victim(candidates, reason, incoming) {
      const key = policy.victim(candidates, reason, incoming);
      log.push(`evict-${reason} ${key}`);
      return key;
    },
    end: () => policy.end(),
  };
}

interface RecordedPass {
  readonly tokens: number;
  /** [layer] Chosen experts and the router's distribution, of the tokens that were computed there. */
  readonly layers: { readonly experts: number[]; readonly probabilities: Float32Array; readonly tokens: number }[];
}

/** Feeds a prompt and then single tokens, and makes a sample of what the routers chose. */
export function recordSession(
  session: Session,
  shape: { readonly experts: number; readonly expertsUsed: number },
  tokens: Int32Array,
  promptTokens: number,
): TraceSample {
  const stream = session.stream;
  if (stream === undefined) throw new Error("Everything is resident: there is nothing to record");
  const passes: RecordedPass[] = [];
  const routed = stream.routed.bind(stream);
  stream.routed = (stop: RouterStop) => {
    const experts: number[] = [];
    for (let token = 0; token < stop.tokens; token++)
      for (let rank = 0; rank < stop.expertsUsed; rank++) experts.push(stop.expert(token, rank));
    const probabilities = new Float32Array(stop.tokens * shape.experts);
    stop.readProbabilities(probabilities);
    passes.at(-1)?.layers.push({ experts, probabilities, tokens: stop.tokens });
    return routed(stop);
  };
  const begin = stream.begin.bind(stream);
  stream.begin = (phase, iteration, ids) => {
    passes.push({ tokens: ids.length, layers: [] });
    begin(phase, iteration, ids);
  };
  session.feed(tokens.subarray(0, promptTokens), 0);
  for (let position = promptTokens; position < tokens.length; position++)
    session.feed(tokens.subarray(position, position + 1), position);
  return sampleOfPasses(passes, shape, tokens, promptTokens);
}

function sampleOfPasses(
  passes: readonly RecordedPass[],
  { experts: all, expertsUsed }: { readonly experts: number; readonly expertsUsed: number },
  tokens: Int32Array,
  promptTokens: number,
): TraceSample {
  const layers = passes[0].layers.length;
  const { length } = tokens;
  const experts = new Uint16Array(length * layers * expertsUsed).fill(NO_ID);
  const probs = new Float32Array(length * layers * all);
  const batches = new Uint32Array(length);
  let position = 0;
  for (const [batch, pass] of passes.entries()) {
    batches.fill(batch, position, position + pass.tokens);
    for (const [layer, stop] of pass.layers.entries())
      for (let token = 0; token < stop.tokens; token++) {
        // The last layer runs only the last tokens of a prompt.
        const row = (position + pass.tokens - stop.tokens + token) * layers + layer;
        experts.set(stop.experts.slice(token * expertsUsed, (token + 1) * expertsUsed), row * expertsUsed);
        probs.set(stop.probabilities.subarray(token * all, (token + 1) * all), row * all);
      }
    position += pass.tokens;
  }
  return {
    ...{ sample: 0, domain: "test", length, experts, probs, batches, tokens },
    phases: Uint8Array.from(tokens, (_, i) => (i < promptTokens ? PREFILL : DECODE)),
    ...{ weights: undefined, hidden: undefined, predicted: undefined, loss: undefined },
  };
}
