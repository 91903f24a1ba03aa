/** A cache over a policy, driven stop by stop by hand: what was read and evicted, reads complete when the test says so. */
import { ExpertCache } from "../cache/expert-cache.ts";
import type { Phase, Policy } from "../cache/policy.ts";
import { routerEvent, routing } from "../cache/replay.test-data.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";

export function drive(shape: ModelShape, budgetBytes: number, policy: Policy) {
  const told: string[] = [];
  const pending: ExpertKey[] = [];
  const cache = new ExpertCache(shape, budgetBytes, policy, {
    evict: (key) => void told.push(`evict ${key}`),
    load(key, kind) {
      told.push(`${kind} ${key}`);
      pending.push(key);
    },
  });
  let iterations = 0;
  return {
    cache,
    policy,
    /** What happened since it was asked last. */
    told: () => told.splice(0),
    held: () => Array.from({ length: cache.count }, (_, i) => cache.at(i) as number).sort((a, b) => a - b),
    arrive() {
      for (const key of pending.splice(0)) cache.completed(key);
    },
    iteration(request = 0, phase: Phase = "decode", tokens = 1) {
      const tokenIds = new Int32Array(tokens);
      const iteration = iterations++;
      cache.iteration({ phase, iteration, request, nowMs: 0, tokens, tokenIds, embeddings: undefined });
    },
    /** One token's choice, or several tokens'; its reads are not complete. */
    routed(layer: number, tokens: readonly (readonly number[])[], nextGate?: readonly number[]) {
      const scores = nextGate === undefined ? undefined : Float32Array.from(nextGate);
      cache.routed(routerEvent(routing(shape, layer, tokens), scores));
    },
  };
}
