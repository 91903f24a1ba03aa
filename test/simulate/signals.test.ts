/** Every signal of the policy interface, live and replayed: the same values, and those of the model's own weights. */
import { describe, expect, test } from "vitest";
import { recordSession } from "../../src/bench/recorded-session.ts";
import { smallestBudgetBytes } from "../../src/cache/layer-budget.ts";
import type { Policy, PolicyNeeds } from "../../src/cache/policy.ts";
import { openSession } from "../../src/engine/open-session.ts";
import { openGguf, readMoeLayout, readRouterWeights, readTensor, toModelShape } from "../../src/gguf/index.ts";
import { openEmbeddingTable } from "../../src/llama/embedding-table.ts";
import { loadLibraries } from "../../src/llama/index.ts";
import { dequantize } from "../../src/llama/quantize.ts";
import { lru } from "../../src/policy/index.ts";
import {
  CacheTooSmallError,
  computeByBytes,
  PolicyNotReplayableError,
  plainDisk,
  Replay,
  type ReplayPolicy,
  replayPolicy,
  SignalReader,
  simulate,
} from "../../src/simulate/index.ts";
import { describedTrace } from "../../src/simulate/traces.test-data.ts";
import { memoryTrace } from "../../src/trace/memory-trace.ts";
import type { TraceSample } from "../../src/trace/trace.ts";
import { DEMO_MODEL, HELD_OUT } from "./demo-text.ts";

const PROMPT_TOKENS = 20;
const TOKENS = 32;
const gguf = openGguf(DEMO_MODEL);
const layout = readMoeLayout(gguf);
const shape = toModelShape(layout);
const { layers, experts, expertsUsed, expertBytes } = shape;
const width = layout.hiddenSize;
const cacheBytes = Math.floor(layout.expertBytesTotal * 0.4);
const routers = readRouterWeights(gguf, layout)!;
const EVERYTHING: PolicyNeeds = {
  ...{ probabilities: true, nextGate: true, embeddings: true, hidden: true, wholeLayers: false },
};
const machine = {
  disk: plainDisk({ bytesPerSecond: 1e9 }),
  compute: computeByBytes({ shape, denseBytes: layout.denseBytes }, 5),
  engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.02 },
};

interface SeenIteration {
  readonly request: number;
  readonly tokenIds: readonly number[];
  readonly embeddings: Float32Array | undefined;
}

interface SeenStop {
  readonly layer: number;
  readonly tokens: number;
  readonly distinct: readonly number[];
  readonly probabilities: Float32Array | undefined;
  readonly hidden: Float32Array | undefined;
  readonly nextGate: Float32Array | undefined;
}

interface Seen {
  readonly iterations: SeenIteration[];
  readonly stops: SeenStop[];
  readonly timesMs: number[];
}

const nothingSeen = (): Seen => ({ iterations: [], stops: [], timesMs: [] });

/** An LRU with other needs, which keeps what it is told. */
function watching(needs: PolicyNeeds, seen: Seen): Policy {
  const base = lru();
  return {
    ...{ name: "watching", needs },
    begin: (of, budget) => base.begin(of, budget),
    iteration(start) {
      const { request, tokens, tokenIds, embeddings, nowMs } = start;
      seen.iterations.push({ request, tokenIds: [...tokenIds], embeddings: embeddings?.slice(0, tokens * width) });
      seen.timesMs.push(nowMs);
      base.iteration(start);
    },
    routed(event) {
      const { layer, tokens, distinct, distinctCount, probabilities, hidden, nextGate, nowMs } = event;
      seen.stops.push({
        ...{ layer, tokens, distinct: [...distinct.subarray(0, distinctCount)] },
        probabilities: probabilities?.slice(0, tokens * experts),
        hidden: hidden?.slice(0, tokens * width),
        nextGate: nextGate?.slice(0, tokens * experts),
      });
      seen.timesMs.push(nowMs);
      base.routed(event);
    },
    prefetch: (link) => base.prefetch(link),
    loading: (key, kind) => base.loading?.(key, kind),
    victim: (candidates, reason, incoming) => base.victim(candidates, reason, incoming),
    end: () => base.end(),
  };
}

/** A prompt and some tokens more, live; the sample has the routers' inputs that the policy saw. */
function liveRun(needs: PolicyNeeds, bytes = cacheBytes): { seen: Seen; sample: TraceSample; cacheBytes: number } {
  const seen = nothingSeen();
  using session = openSession(DEMO_MODEL, {
    memory: { kind: "experts", bytes },
    ...{ policy: watching(needs, seen), contextSize: 128, threads: 1 },
  });
  const tokens = Int32Array.from(session.model.vocabulary.tokenize(HELD_OUT)).subarray(0, TOKENS);
  const { sample } = recordSession(session, shape, tokens, PROMPT_TOKENS);
  const hidden = new Float32Array(TOKENS * layers * width);
  let position = 0;
  let pass = 0;
  for (const [i, stop] of seen.stops.entries()) {
    if (i > 0 && stop.layer <= seen.stops[i - 1].layer) position += seen.iterations[pass++].tokenIds.length;
    const first = position + seen.iterations[pass].tokenIds.length - stop.tokens;
    for (let token = 0; token < stop.tokens; token++) {
      const row = stop.hidden?.subarray(token * width, (token + 1) * width);
      if (row !== undefined) hidden.set(row, ((first + token) * layers + stop.layer) * width);
    }
  }
  return { seen, sample: { ...sample, hidden }, cacheBytes: session.plan.expertBudgetBytes };
}

function traceOf(sample: TraceSample) {
  const described = describedTrace({ experts, expertsUsed, expertBytes }, [sample]);
  return { ...described, columns: { ...described.columns, hiddenWidth: width, tokens: true } };
}

const replayed = (needs: PolicyNeeds, seen: Seen): ReplayPolicy => ({
  ...{ name: "watching", knowsFuture: false, needs },
  create: () => watching(needs, seen),
});

const live = liveRun(EVERYTHING);
const libraries = loadLibraries();

describe("a live policy is told", () => {
  test("the embedding rows of its tokens, as the file has them", () => {
    const table = gguf.tensor("token_embd.weight")!;
    for (const { tokenIds, embeddings } of live.seen.iterations) {
      expect(embeddings).toHaveLength(tokenIds.length * width);
      for (const [i, token] of tokenIds.entries()) {
        const rowBytes = table.bytes / table.shape[1];
        const row = readTensor(gguf, table, { offset: token * rowBytes, bytes: rowBytes });
        expect(embeddings?.subarray(i * width, (i + 1) * width)).toEqual(dequantize(libraries, table.type, row, width));
      }
    }
  });

  test("the routers' inputs: with the routers' weights they make the routers' probabilities", () => {
    for (const { layer, tokens, hidden, probabilities } of live.seen.stops)
      for (let token = 0; token < tokens; token++) {
        const scores = Array.from({ length: experts }, (_, expert) => {
          let score = 0;
          for (let i = 0; i < width; i++)
            score += routers.weights[layer][expert * width + i] * hidden![token * width + i];
          return Math.exp(score);
        });
        const sum = scores.reduce((a, b) => a + b, 0);
        for (const [expert, score] of scores.entries())
          expect(score / sum).toBeCloseTo(probabilities![token * experts + expert], 4);
      }
  });

  test("requests as prompts are given, however many micro-batches they take", () => {
    const seen = nothingSeen();
    using session = openSession(DEMO_MODEL, {
      memory: { kind: "experts", bytes: cacheBytes },
      ...{
        policy: watching({ ...EVERYTHING, nextGate: false }, seen),
        contextSize: 128,
        threads: 1,
        microBatchTokens: 4,
      },
    });
    session.feed([1, 2, 3, 4, 5, 6], 0);
    session.feed([7], 6);
    session.feed([8, 9], 7);
    session.context.clear();
    session.feed([1], 0);
    session.feed([2], 1);
    session.startRequest();
    session.feed([3], 2);
    session.startRequest();
    session.feed([4, 5, 6, 7, 8], 3);
    session.feed([9], 8);
    expect(seen.iterations.map(({ request }) => request)).toEqual([0, 0, 0, 1, 2, 2, 3, 4, 4, 4]);
    expect(seen.timesMs).toEqual([...seen.timesMs].sort((a, b) => a - b));
    expect(seen.timesMs.at(-1)).toBeGreaterThan(seen.timesMs[0]);
  });
});

describe("a replayed policy is told", () => {
  const replayLive = async (needs = EVERYTHING) => {
    const seen = nothingSeen();
    const options = {
      trace: traceOf(live.sample),
      machine,
      cacheBytes: live.cacheBytes,
      policy: replayed(needs, seen),
    };
    const replay = new Replay({ ...options, passes: { as: "recorded" } });
    using embeddings = openEmbeddingTable(libraries, gguf);
    const signals = await new SignalReader({ embeddings, routers }, needs).of(live.sample);
    replay.sample(live.sample, signals);
    replay.sample(live.sample, signals);
    return seen;
  };

  test("what the live one was", async () => {
    const { iterations, stops, timesMs } = await replayLive();
    const { length } = live.seen.iterations;
    expect(iterations.slice(0, length)).toEqual(live.seen.iterations);
    expect(iterations.slice(length).map(({ request }) => request)).toEqual(new Array(length).fill(1));
    expect(timesMs).toEqual([...timesMs].sort((a, b) => a - b));
    for (const [i, { nextGate, ...stop }] of live.seen.stops.entries()) {
      const { nextGate: again, ...others } = stops[i];
      expect(others).toEqual(stop);
      expect(again === undefined).toBe(nextGate === undefined);
      expect(nextGate === undefined).toBe(stop.layer === layers - 1);
      for (const [at, score] of nextGate?.entries() ?? []) expect(Math.abs(score - again![at])).toBeLessThan(1e-4);
    }
  });

  test("only what it needs", async () => {
    const { iterations, stops } = await replayLive({
      ...EVERYTHING,
      hidden: false,
      embeddings: false,
      nextGate: false,
    });
    expect(iterations.every(({ embeddings }) => embeddings === undefined)).toBe(true);
    expect(stops.every(({ hidden, nextGate }) => hidden === undefined && nextGate === undefined)).toBe(true);
  });
});

describe("whole layers", () => {
  const needs: PolicyNeeds = { ...EVERYTHING, nextGate: false, embeddings: false, hidden: false, wholeLayers: true };

  test("are brought in live and replayed, the chosen experts first", () => {
    const one = liveRun(needs);
    const chosen = liveRun({ ...needs, wholeLayers: false });
    for (const [i, { layer, distinct }] of one.seen.stops.entries()) {
      const own = chosen.seen.stops[i].distinct;
      expect(distinct.slice(0, own.length)).toEqual(own);
      expect([...distinct].sort((a, b) => a - b)).toEqual(
        Array.from({ length: experts }, (_, e) => layer * experts + e),
      );
    }
    const seen = nothingSeen();
    const options = { trace: traceOf(one.sample), machine, cacheBytes: one.cacheBytes, policy: replayed(needs, seen) };
    const replay = new Replay({ ...options, passes: { as: "recorded" } });
    replay.sample(one.sample);
    expect(seen.stops).toEqual(one.seen.stops.map((stop) => ({ ...stop, hidden: undefined })));
    const { decode } = replay.figures();
    expect(decode.counters.hits + decode.counters.misses).toBe((TOKENS - PROMPT_TOKENS) * layers * experts);
  });

  test("compute as much as without, because what was not chosen is not multiplied with", () => {
    const computeMs = (wholeLayers: boolean) => {
      const policy = replayed({ ...needs, wholeLayers }, nothingSeen());
      const options = { trace: traceOf(live.sample), machine, cacheBytes: live.cacheBytes, policy };
      const replay = new Replay({ ...options, passes: { as: "recorded" } });
      replay.sample(live.sample);
      const { prefill, decode } = replay.figures();
      return prefill.computeMs + decode.computeMs;
    };
    expect(computeMs(true)).toBeCloseTo(computeMs(false), 9);
  });

  test("need a budget of one of them, and say so", () => {
    const bytes = smallestBudgetBytes(shape, 1, { wholeLayers: true });
    expect(() => liveRun(needs, bytes)).not.toThrow();
    expect(() => liveRun(needs, bytes - 1)).toThrow(
      expect.objectContaining({
        ...{ name: "BudgetTooSmallError", smallestBudgetBytes: bytes },
        message: expect.stringMatching(/watching brings in whole layers/),
      }),
    );
    const options = { trace: traceOf(live.sample), machine, policy: replayed(needs, nothingSeen()) };
    expect(() => new Replay({ ...options, cacheBytes: bytes - 1 })).toThrow(CacheTooSmallError);
    expect(() => new Replay({ ...options, cacheBytes: bytes - 1 })).toThrow(/watching brings in whole layers/);
    expect(() => new Replay({ ...options, cacheBytes: bytes })).not.toThrow();
  });
});

describe("next-gate", () => {
  const trace = traceOf(live.sample);
  const source = memoryTrace(
    trace,
    Array.from({ length: 3 }, (_, sample) => ({ ...live.sample, sample })),
  );
  const names = ["lru", "lru+next-gate", "next-use", "next-use+next-gate"];
  const options = { policies: names, cacheBytes: [cacheBytes], machine, passes: { as: "recorded" as const } };

  test("is simulated with the traced model's routers, on any number of threads", async () => {
    const { rows, notes } = await simulate(source, { ...options, weights: { routers } });
    expect(rows.map(({ bytesPrefetched }) => bytesPrefetched > 0)).toEqual([false, true, false, true]);
    expect(notes).toContainEqual(expect.stringMatching(/^lru\+next-gate, next-use\+next-gate: .*not counted here/));
    // What is read ahead is mostly right: chance would be one in eight.
    for (const row of rows) expect(row.bytesWasted).toBeLessThanOrEqual(0.3 * row.bytesPrefetched);
    const spread = await simulate(source, { ...options, weights: { routers }, workers: 2 });
    expect(spread.rows).toEqual(rows);
  });

  test("is refused without them, and without the routers' inputs", async () => {
    await expect(simulate(source, options)).rejects.toThrow(/lru\+next-gate cannot be simulated.*--model/);
    const blind = memoryTrace({ ...trace, columns: { ...trace.columns, hiddenWidth: 0 } }, [live.sample]);
    await expect(simulate(blind, { ...options, weights: { routers } })).rejects.toThrow(/--hidden/);
    const replay = new Replay({ trace, machine, cacheBytes, policy: replayPolicy("lru+next-gate") });
    expect(() => replay.sample(live.sample)).toThrow(PolicyNotReplayableError);
  });
});

test("a policy that needs what a trace does not hold is refused by name", () => {
  const { hidden: _, tokens: __, ...bare } = live.sample;
  const sample: TraceSample = { ...bare, hidden: undefined, tokens: undefined };
  const replay = (needs: Partial<PolicyNeeds>) => {
    const all = { ...EVERYTHING, nextGate: false, hidden: false, embeddings: false, ...needs };
    const options = { trace: traceOf(live.sample), machine, cacheBytes, policy: replayed(all, nothingSeen()) };
    return () => new Replay({ ...options, passes: { as: "recorded" } }).sample(sample);
  };
  expect(replay({})).not.toThrow();
  expect(replay({ hidden: true })).toThrow(/watching cannot be simulated.*routers' inputs.*--hidden/);
  expect(replay({ embeddings: true })).toThrow(/watching cannot be simulated.*tokens/);
});
