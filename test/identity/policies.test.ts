/**
 * Every policy that has a name, and variants of those with mechanisms of their own, in a tight cache over a prompt of several
 * micro-batches and some fifty decode steps: the output is stock llama.cpp's, bit for bit, and the mechanisms have worked.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Policy } from "../../src/cache/policy.ts";
import { totalCounters } from "../../src/cache/statistics.ts";
import { policyByName, policyNames } from "../../src/policy/index.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { firstDifference } from "./conversation.ts";
import { DEMO_MODEL, demoModel, TIGHT_RUN } from "./demo-conversation.ts";
import { type EngineRecord, type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import { policyResources } from "./policy-resources.ts";

const folder = mkdtempSync(join(tmpdir(), "identity-policies-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Additions stand on the plainest base. */
const NAMES = policyNames().map((name) => (name.startsWith("+") ? `lru${name}` : name));
const VARIANTS = [
  "deepspeed:cache=off",
  "layer-stream:cache=off",
  "least-stale:order=layer",
  "mixtral-offload:speculate=8,buffers=16",
  "moe-infinity:match=sum,eamc=2,replace=least-accessed",
  "promoe:stride=1,k=8,tokens=64",
  "promoe:touch=off",
  "finemoe:mode=worker,prefill=on,inflight=8",
  "finemoe:mode=inline",
  "finemoe:mode=inline,threshold=coverage,plan=band,record=token,prefill=on,inflight=8",
  "finemoe:mode=inline,search=semantic,capacity=4,eviction=lfu",
  "finemoe-plus:mode=worker",
  "finemoe-plus:mode=inline,inflight=8",
  "warmset:token=off,gate=off",
  "warmset+next-gate",
  "finemoe:mode=inline+next-gate",
];

/** What is above 0 when a policy's mechanism has worked. Searches in another thread may all come too late on a busy machine. */
const SHOWN: Readonly<Record<string, readonly string[]>> = {
  "layer-stream": ["prefetchesIssued"],
  "layer-stream:cache=off": ["prefetchesIssued", "discards"],
  "deepspeed:cache=off": ["discards"],
  "on-demand": ["discards"],
  "lru+next-gate": ["prefetchesUsed"],
  "mixtral-offload": ["prefetchesUsed", "discards"],
  "mixtral-offload:speculate=8,buffers=16": ["prefetchesUsed", "discards"],
  "moe-infinity": ["eamMatches", "popularityPredictions", "prefetchesIssued"],
  promoe: ["predictions", "rightExperts", "prefetchesUsed"],
  "promoe:stride=1,k=8,tokens=64": ["predictions", "rightExperts", "prefetchesUsed"],
  finemoe: ["storeUpdates"],
  "finemoe:mode=worker,prefill=on,inflight=8": ["storeUpdates"],
  "finemoe:mode=inline": ["semanticSearches", "trajectorySearches", "storeUpdates", "readsAhead"],
  "finemoe:mode=inline,search=semantic,capacity=4,eviction=lfu": [
    "semanticSearches",
    "storeRowsReplaced",
    "readsAhead",
  ],
  "finemoe-plus:mode=inline,inflight=8": [
    "semanticSearches",
    "trajectorySearches",
    "calibrationOutcomes",
    "mixOutcomes",
  ],
  warmset: ["prefetchesUsed"],
};

/** The conversation under a policy, held against stock llama.cpp's; what its counters and its own figures say. */
function figuresUnder(policy: Policy, model: ModelUnderTest, stock: StockTranscripts): Record<string, number> {
  const record: EngineRecord = runEngine(model, TIGHT_RUN, { policy });
  const expected = stock.of(model, record.microBatchTokens);
  expect(record.transcript.tokens).toEqual(expected.tokens);
  expect(firstDifference(record.transcript, expected)).toBe(-1);
  expect(record.resident).toBe(false);
  const { cache, policyFigures } = record.statistics;
  const counters = totalCounters(cache as NonNullable<typeof cache>);
  expect(counters.misses).toBeGreaterThan(0);
  expect(counters.evictionsForDemand + counters.evictionsForPrefetch + counters.discards).toBeGreaterThan(0);
  return { ...counters, ...policyFigures };
}

describe("the demo model says what stock llama.cpp says", () => {
  const stock = new StockTranscripts();
  let model: ModelUnderTest;

  beforeAll(() => {
    model = demoModel();
    expect(model.words.length).toBeGreaterThan(200);
    expect(stock.of(model, model.microBatchTokens).tokens.length).toBeGreaterThan(48);
  }, 60_000);

  test.each([...NAMES, ...VARIANTS])("under %s", (name) => {
    const figures = figuresUnder(policyByName(name, policyResources(DEMO_MODEL)), model, stock);
    for (const shown of SHOWN[name] ?? []) expect(figures[shown], shown).toBeGreaterThan(0);
  });

  test.each(NAMES.filter((name) => policyByName(name).learned !== undefined))(
    "under %s with what it learned in a run before",
    (name) => {
      const resources = policyResources(DEMO_MODEL);
      const first = policyByName(name, resources);
      figuresUnder(first, model, stock);
      figuresUnder(policyByName(name, { ...resources, learned: first.learned?.() ?? new Uint8Array() }), model, stock);
    },
  );
});

/** Those that look at more than what the routers chose. */
const WANTING = [...NAMES, "finemoe:mode=inline", "finemoe-plus:mode=inline"].filter((name) => {
  const { probabilities, nextGate, embeddings, hidden } = policyByName(name).needs;
  return probabilities || nextGate || embeddings || hidden;
});

/** Nothing is there but what the routers chose: no weights either. */
function deprived(policy: Policy): Policy {
  const iteration = policy.iteration.bind(policy);
  const routed = policy.routed.bind(policy);
  policy.iteration = (start) => iteration({ ...start, embeddings: undefined });
  policy.routed = (event) =>
    routed({
      ...event,
      weights: new Float32Array(event.weights.length),
      ...{ probabilities: undefined, nextGate: undefined, hidden: undefined },
    });
  return policy;
}

/** How often a policy went without something that it asks for. */
function lacking(figures: Record<string, number>): number {
  const names = Object.keys(figures).filter((name) => /Without(?!Match)|ByTokenIdOnly/.test(name));
  expect(names).not.toEqual([]);
  return names.reduce((sum, name) => sum + figures[name], 0);
}

// A sigmoid router with a choice bias and groups, and one that takes the softmax over the chosen experts alone.
describe.each(["deepseek2", "gpt-oss"])("a tiny %s says what stock llama.cpp says", (architecture) => {
  const stock = new StockTranscripts();
  let model: ModelUnderTest;

  beforeAll(async () => {
    const single = await makeTinyModel(folder, tinyModel(architecture));
    model = {
      ...{ single, split: single, contextSize: 256, microBatchTokens: 16, threads: 1 },
      words: Int32Array.from({ length: 96 }, (_, i) => 3 + ((i * 37) % 290)),
      length: { promptTokens: 40, answerTokens: 17 },
    };
  }, 60_000);

  test.each(WANTING)("under %s, which has all that it asks for", (name) => {
    expect(lacking(figuresUnder(policyByName(name, policyResources(model.single)), model, stock))).toBe(0);
  });

  test.each(WANTING)("under %s without anything that it asks for, which it tells", (name) => {
    const policy = deprived(policyByName(name, policyResources(model.single)));
    expect(lacking(figuresUnder(policy, model, stock))).toBeGreaterThan(0);
  });
});
