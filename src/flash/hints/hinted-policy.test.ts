/** The wrapper around policies: what holds of every run, whatever the hints say, and that true ones help. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Decision, ExpertCache } from "../../cache/expert-cache.ts";
import type { Policy } from "../../cache/policy.ts";
import { generatedRuns, randomNumbers, routerEvent, routing } from "../../cache/replay.test-data.ts";
import type { ExpertKey, ModelShape } from "../../cache/shape.ts";
import { policyByName } from "../../policy/by-name.ts";
import type { HintLink } from "./hint-link.ts";
import { InlineLink } from "./hint-link.ts";
import { HintedPolicy, type HintedPolicyOptions } from "./hinted-policy.ts";
import { MemoryHints } from "./memory-hints.ts";
import { SegmentCodec } from "./segment-hint.ts";

interface Pass {
  readonly position: number | undefined;
  readonly tokenIds: readonly number[];
  /** By layer and token. */
  readonly experts: readonly (readonly (readonly number[])[])[];
}

/** Drives a cache; reads complete before the next layer. After each stop the link has room for `spareExperts`. */
function drive(shape: ModelShape, budgetBytes: number, policy: Policy, passes: readonly Pass[], spareExperts = 2) {
  const log: [Decision, number][] = [];
  const reads: ExpertKey[] = [];
  const spare = spareExperts * Math.max(...shape.expertBytes);
  const cache = new ExpertCache(
    shape,
    budgetBytes,
    policy,
    { evict() {}, load: (key) => void reads.push(key) },
    { onDecision: (decision, key) => log.push([decision, key]) },
  );
  const arrive = () => {
    expect(cache.usedBytes).toBeLessThanOrEqual(budgetBytes);
    for (const key of reads.splice(0)) cache.completed(key);
  };
  for (const [iteration, { position, tokenIds, experts }] of passes.entries()) {
    const tokens = tokenIds.length;
    const phase = tokens > 1 ? "prefill" : "decode";
    const ids = { tokenIds: Int32Array.from(tokenIds), embeddings: undefined };
    cache.iteration({ phase, iteration, request: 0, nowMs: 0, tokens, position, ...ids });
    if (policy.prefetchesAtStart === true) cache.speculate(spare);
    for (const [layer, chosen] of experts.entries()) {
      cache.routed(routerEvent(routing(shape, layer, chosen)));
      arrive();
      cache.speculate(spare);
      arrive();
    }
  }
  cache.close();
  return { log, statistics: cache.statistics() };
}

const shape: ModelShape = { layers: 4, experts: 16, expertsUsed: 2, expertBytes: [10, 10, 10, 10] };
const codec = new SegmentCodec(shape, 4);
const options = (link: HintLink, more: Partial<HintedPolicyOptions> = {}): HintedPolicyOptions => ({
  ...{ link, salt: "a model", blockTokens: 8 },
  ...more,
});
const store = () => new MemoryHints({ merge: (old, observed) => codec.merge(old, observed) });

/** A prompt of 12 tokens and 28 more, each of which uses experts that depend on it and its place alone. */
function conversation(seed: number): Pass[] {
  const random = randomNumbers(seed);
  const ids = Array.from({ length: 40 }, () => Math.floor(100 * random()));
  const chosen = (at: number, layer: number) => {
    const first = (ids[at] + 5 * layer + 3 * Math.floor(at / 8)) % 16;
    return [first, (first + 1 + ((ids[at] >> 2) % 4)) % 16];
  };
  const pass = (from: number, to: number): Pass => {
    const positions = Array.from({ length: to - from }, (_, i) => from + i);
    return {
      position: from,
      tokenIds: positions.map((at) => ids[at]),
      experts: Array.from({ length: 4 }, (_, layer) => positions.map((at) => chosen(at, layer))),
    };
  };
  return [pass(0, 12), ...Array.from({ length: 28 }, (_, i) => pass(12 + i, 13 + i))];
}

describe("true hints", () => {
  test.each(["lru", "warmset", "on-demand", "lfu"])("raise the hits of %s", (name) => {
    const hints = store();
    const runs = [3, 4, 5, 6].map(conversation);
    const all = [...runs, ...runs].flat();
    const hitsOf = (policy: Policy) => {
      const { decode } = drive(shape, 200, policy, all).statistics;
      return decode.hits;
    };
    const plain = hitsOf(policyByName(name));
    const empty = hitsOf(new HintedPolicy(policyByName(name), options(new InlineLink(hints))));
    const known = hitsOf(new HintedPolicy(policyByName(name), options(new InlineLink(hints))));
    expect(empty).toBeGreaterThan(plain);
    expect(known).toBeGreaterThan(1.15 * plain);
  });

  test("of another model are not found", () => {
    const hints = store();
    const run = conversation(1);
    drive(shape, 200, new HintedPolicy(policyByName("lru"), options(new InlineLink(hints))), run);
    const other = new HintedPolicy(policyByName("lru"), options(new InlineLink(hints), { salt: "another" }));
    drive(shape, 200, other, run);
    expect(other.figures()).toMatchObject({ blocksHinted: 0, hintReads: 0 });
    expect(other.figures().blocksUnknown).toBeGreaterThan(0);
  });
});

test("without hints the base decides everything", () => {
  const nothing: HintLink = {
    ...{ problem: "it is broken", ask: () => 1, take() {}, record() {}, figures: () => ({}), close() {} },
  };
  const run = [1, 2].flatMap(conversation);
  for (const name of ["lru", "warmset", "slru", "next-use"])
    expect(drive(shape, 200, new HintedPolicy(policyByName(name), options(nothing)), run).log).toEqual(
      drive(shape, 200, policyByName(name), run).log,
    );
});

test("passes of unknown place neither ask nor record", () => {
  const hints = store();
  const run = conversation(1).map((pass) => ({ ...pass, position: undefined }));
  drive(shape, 200, new HintedPolicy(policyByName("lru"), options(new InlineLink(hints))), run);
  expect(hints.stats()).toMatchObject({ lookUps: 0, recorded: 0 });
});

test("each whole block is recorded once, under the key of what stands before it", () => {
  const hints = store();
  drive(shape, 200, new HintedPolicy(policyByName("lru"), options(new InlineLink(hints))), conversation(1));
  expect(hints.stats()).toMatchObject({ recorded: 5, written: 5 });
});

test("whatever the hints say, the budget holds and every demand is met", () => {
  /** Answers with noise of the right form, or of none. */
  class Noise extends InlineLink {
    constructor(bytes: (key: Uint8Array) => Uint8Array | undefined) {
      super({ get: bytes, observe() {}, stats: () => store().stats() } as never);
    }
  }
  const names = fc.constantFrom(
    "lru",
    "warmset",
    "on-demand",
    "lfu",
    "slru",
    "layer-stream",
    "next-use",
    "moe-infinity",
  );
  fc.assert(
    fc.property(generatedRuns({ maxTokens: 6 }), names, fc.nat(), fc.constantFrom(1, 2, 4), (run, name, seed, bits) => {
      const random = randomNumbers(seed);
      const own = new SegmentCodec(run.shape, bits as 1 | 2 | 4);
      const total = run.shape.layers * run.shape.experts;
      const link = new Noise(() =>
        random() < 0.2 ? undefined : own.encode(Uint8Array.from({ length: total }, () => 4 * random())),
      );
      const base = policyByName(name);
      // These bring in whole layers, for which this budget may be too small.
      fc.pre(!base.needs.wholeLayers);
      const policy = new HintedPolicy(base, options(link, { bits: bits as 1 | 2 | 4, blockTokens: 2 }));
      let at = 0;
      const passes = run.iterations.map(({ stops }): Pass => {
        const tokens = stops[0]?.tokens ?? 0;
        // Now and then it goes back, or on somewhere else.
        if (random() < 0.1) at = Math.floor(at * random());
        const position = random() < 0.1 ? undefined : at;
        at += tokens;
        const perToken = run.shape.expertsUsed;
        return {
          position,
          tokenIds: Array.from({ length: tokens }, () => Math.floor(9 * random())),
          experts: stops.map(({ experts }) =>
            Array.from({ length: tokens }, (_, i) => [...experts.subarray(i * perToken, (i + 1) * perToken)]),
          ),
        };
      });
      const { statistics } = drive(run.shape, run.budgetBytes, policy, passes);
      const { statistics: plain } = drive(run.shape, run.budgetBytes, policyByName("lru"), passes);
      const uses = ({ prefill, decode }: typeof plain) =>
        [prefill, decode].reduce((sum, c) => sum + c.hits + c.lateHits + c.misses, 0);
      expect(uses(statistics)).toBe(uses(plain));
    }),
    { numRuns: 300 },
  );
});
