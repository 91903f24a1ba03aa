import { describe, expect, test } from "vitest";
import type { Policy, RouterEvent } from "../cache/policy.ts";
import { openSession } from "../engine/open-session.ts";
import { lru } from "../policy/lru.ts";
import { DEMO_MODEL } from "./demo-model.test-data.ts";

const EXPERTS = 32;
const LAYERS = 8;
const TEXT = "Once upon a time there was a little fox who lived at the edge of the forest. The capital of France is";

interface Prediction {
  readonly layer: number;
  readonly tokens: number;
  /** Experts of each token, the best-scored first. */
  readonly predicted: readonly (readonly number[])[] | undefined;
  readonly chosen: readonly (readonly number[])[];
}

/** Runs the text through the demo model, in one batch or token by token, and notes predictions and choices. */
function predictions(tokenByToken: boolean): Prediction[] {
  const seen: Prediction[] = [];
  const rows = <T>(event: RouterEvent, row: (token: number) => T): T[] =>
    Array.from({ length: event.tokens }, (_, token) => row(token));
  const base = lru();
  const policy: Policy = {
    name: "watching",
    needs: { ...base.needs, nextGate: true },
    begin: (shape, experts) => base.begin(shape, experts),
    iteration: (start) => base.iteration(start),
    routed(event) {
      const { layer, tokens, nextGate, experts, expertsUsed } = event;
      const predicted =
        nextGate &&
        rows(event, (token) => {
          const scores = nextGate.subarray(token * EXPERTS, (token + 1) * EXPERTS);
          return [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, expertsUsed);
        });
      const chosen = rows(event, (token) => [...experts.subarray(token * expertsUsed, (token + 1) * expertsUsed)]);
      seen.push({ layer, tokens, predicted, chosen });
      base.routed(event);
    },
    prefetch: (link) => base.prefetch(link),
    loading: (key, kind) => base.loading?.(key, kind),
    victim: (candidates, reason, incoming) => base.victim(candidates, reason, incoming),
    end: () => base.end(),
  };
  const memory = { kind: "experts", bytes: 14e6 } as const;
  using session = openSession(DEMO_MODEL, { memory, policy, contextSize: 256, threads: 1, maxOutputs: 64 });
  expect(session.resident).toBe(false);
  const tokens = session.model.vocabulary.tokenize(TEXT);
  if (tokenByToken) for (const [i, token] of tokens.entries()) session.feed([token], i);
  else session.feed(tokens, 0);
  return seen;
}

describe("the scores of the next layer's router", () => {
  test.each([
    ["in a batch", false],
    ["token by token", true],
  ])("name most of the experts that it then chooses, %s", (_, tokenByToken) => {
    const seen = predictions(tokenByToken);
    let right = 0;
    let all = 0;
    for (const [i, { predicted, layer, tokens }] of seen.entries()) {
      expect(predicted === undefined).toBe(layer === LAYERS - 1);
      const next = seen[i + 1];
      // The last layer of a batch computes the last token only.
      if (predicted === undefined || next?.layer !== layer + 1 || next.tokens !== tokens) continue;
      for (const [token, experts] of predicted.entries()) {
        right += experts.filter((expert) => next.chosen[token].includes(expert)).length;
        all += experts.length;
      }
    }
    expect(all).toBeGreaterThan(400);
    // By chance it would be one in eight.
    expect(right / all).toBeGreaterThan(0.5);
  });
});
