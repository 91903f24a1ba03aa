import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import type { Policy } from "../cache/policy.ts";
import { NO_EXPERT } from "../cache/shape.ts";
import { totalCounters } from "../cache/statistics.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { PAGE_BYTES } from "../memory/libc.ts";
import { policyByName, policyNames } from "../policy/index.ts";
import { openSession } from "./open-session.ts";
import type { Session } from "./session.ts";
import { expertCounts } from "./statistics.ts";

const folder = mkdtempSync(join(tmpdir(), "statistics-"));
afterAll(() => rmSync(folder, { recursive: true }));

let path = "";
beforeAll(async () => {
  path = await makeTinyModel(folder, tinyModel("qwen3moe"));
}, 60_000);

/** All but the one that cannot begin without a predictor trained for the model. */
const BASES = policyNames().filter((name) => !name.startsWith("+") && name !== "promoe");
/** Those that read nothing ahead. */
const DEMAND_ONLY = ["on-demand", "lru", "lfu", "lfu-decayed", "lfu-per-layer", "slru", "least-stale", "next-use"];

/** Counts the look-ups that the routers ask for, apart from the cache. */
function counting(base: Policy): { policy: Policy; lookUps: () => number } {
  let lookUps = 0;
  const policy: Policy = {
    name: base.name,
    needs: base.needs,
    begin: (shape, budgetExperts) => base.begin(shape, budgetExperts),
    iteration: (start) => base.iteration(start),
    routed: (event) => {
      lookUps += event.distinctCount;
      base.routed(event);
    },
    prefetch: (link) => base.prefetch(link),
    loading: (key, kind) => base.loading?.(key, kind),
    discard: (candidates) => base.discard?.(candidates) ?? NO_EXPERT,
    victim: (candidates, reason, incoming) => base.victim(candidates, reason, incoming),
    end: () => base.end(),
  };
  return { policy, lookUps: () => lookUps };
}

function open(policy: Policy, share = 0.4): Session {
  const { expertBytesTotal } = readMoeLayout(openGguf(path));
  return openSession(path, {
    memory: { kind: "experts", bytes: Math.floor(expertBytesTotal * share) },
    policy,
    contextSize: 256,
    microBatchTokens: 8,
    threads: 1,
  });
}

function use(session: Session, from = 0): void {
  session.feed(
    Array.from({ length: 24 }, (_, i) => 3 + (((from + i) * 37) % 290)),
    from,
  );
  for (let i = 0; i < 12; i++) session.feed([3 + ((i * 53) % 290)], from + 24 + i);
}

describe.each([...BASES, ...BASES.map((base) => `${base}+next-gate`)])("the figures of a run with %s", (name) => {
  test("add up", () => {
    const { policy, lookUps } = counting(policyByName(name));
    using session = open(policy);
    use(session);
    const { cache, times, bytesRead, graphStops, graphAsks } = session.statistics();
    if (cache === undefined) throw new Error("nothing was streamed");

    const { wallMs, computeMs, stallMs, managementMs, predictionMs } = times;
    for (const ms of [computeMs, stallMs, managementMs, predictionMs]) expect(ms).toBeGreaterThanOrEqual(0);
    expect(computeMs + stallMs + managementMs + predictionMs).toBeCloseTo(wallMs, 6);
    expect(predictionMs > 0).toBe(policy.needs.nextGate);
    expect(graphAsks).toBeGreaterThan(graphStops);

    const total = totalCounters(cache);
    expect(total.hits + total.lateHits + total.misses).toBe(lookUps());
    expect(total.prefetchesIssued).toBe(total.prefetchesUsed + total.prefetchesWasted + total.prefetchesCancelled);
    const { moeLayers } = readMoeLayout(openGguf(path));
    const expertBytes = moeLayers[0].expertBytes;
    expect(moeLayers.every((layer) => layer.expertBytes === expertBytes)).toBe(true);
    expect(total.bytesDemanded).toBe(total.misses * expertBytes);
    expect(total.bytesPrefetched).toBe(total.prefetchesIssued * expertBytes);

    // What was read is what was asked for, each slice rounded outward to pages, less what was called off in time.
    const rounding = (total.misses + total.prefetchesIssued) * moeLayers[0].slices.length * 2 * PAGE_BYTES;
    const expertBytesRead = bytesRead - session.load.bytesRead;
    expect(expertBytesRead).toBeLessThanOrEqual(total.bytesDemanded + total.bytesPrefetched + rounding);
    expect(expertBytesRead).toBeGreaterThanOrEqual(
      total.bytesDemanded + total.bytesPrefetched - total.bytesCancelled - session.plan.expertBudgetBytes,
    );
    if (DEMAND_ONLY.includes(name))
      expect(total).toMatchObject({ lateHits: 0, prefetchesIssued: 0, bytesWasted: 0, evictionsForPrefetch: 0 });
  });
});

describe("prefill and decode", () => {
  test("are counted apart, by the number of tokens fed", () => {
    using session = open(policyByName("lru"));
    session.feed([5, 6, 7], 0);
    const afterPrompt = session.statistics().cache;
    session.feed([8], 3);
    const afterToken = session.statistics().cache;
    expect(afterPrompt?.decode.misses).toBe(0);
    expect(afterToken?.prefill).toEqual(afterPrompt?.prefill);
    expect((afterToken?.decode.hits ?? 0) + (afterToken?.decode.misses ?? 0)).toBeGreaterThan(0);
  });
});

describe("the share of one generation", () => {
  test("is the difference between two snapshots", () => {
    using session = open(policyByName("lru"));
    use(session);
    const before = session.statistics();
    use(session, 36);
    const after = session.statistics();
    const counts = expertCounts(before, after);
    const [a, b] = [before, after].map(({ cache }) => cache && totalCounters(cache));
    expect(counts.misses).toBe((b?.misses ?? 0) - (a?.misses ?? 0));
    expect(counts.hitRate).toBeCloseTo(counts.hits / (counts.hits + counts.lateHits + counts.misses), 10);
    expect(counts.evictions).toBeGreaterThan(0);
    expect(counts.bytesRead).toBe(after.bytesRead - before.bytesRead);
    expect(expertCounts(after, after)).toMatchObject({ hits: 0, misses: 0, evictions: 0, hitRate: 1, bytesRead: 0 });
  });

  test("of a model that is all in memory is all hits and no reads", () => {
    using session = openSession(path, { contextSize: 256, threads: 1 });
    const before = session.statistics();
    use(session);
    const after = session.statistics();
    expect(session.resident).toBe(true);
    expect(after.cache).toBeUndefined();
    expect(expertCounts(before, after)).toMatchObject({ hits: 0, misses: 0, hitRate: 1, bytesRead: 0, stallMs: 0 });
    expect(after.times.computeMs).toBe(after.times.wallMs);
  });
});

describe("more memory", () => {
  test("never means more misses for lru, which keeps what a smaller one keeps", () => {
    const misses = [0.3, 0.6, 0.9].map((share) => {
      using session = open(policyByName("lru"), share);
      use(session);
      const { cache } = session.statistics();
      return cache === undefined ? 0 : totalCounters(cache).misses;
    });
    expect(misses).toEqual([...misses].sort((a, b) => b - a));
  });
});
