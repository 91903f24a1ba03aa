/** The simulator is the engine: a live run on the demo model, recorded and replayed, decides the same things one by one. */
import { describe, expect, test } from "vitest";
import { recordSession } from "../../src/bench/recorded-session.ts";
import { openSession } from "../../src/engine/open-session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { policyByName } from "../../src/policy/index.ts";
import { computeByBytes, plainDisk, Replay, replayPolicy, simulate } from "../../src/simulate/index.ts";
import { describedTrace } from "../../src/simulate/traces.test-data.ts";
import { memoryTrace } from "../../src/trace/memory-trace.ts";
import { DEMO_MODEL, HELD_OUT } from "./demo-text.ts";
import { loggedPolicy } from "./logged-policy.ts";

const PROMPT_TOKENS = 24;
const TOKENS = 72;
const layout = readMoeLayout(openGguf(DEMO_MODEL));
const shape = toModelShape(layout);
const machine = {
  disk: plainDisk({ bytesPerSecond: 1e9 }),
  compute: computeByBytes({ shape, denseBytes: layout.denseBytes }, 5),
  engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.02 },
};

function liveRun(policyName: string, share: number) {
  const log: string[] = [];
  const policy = policyByName(policyName);
  let session: ReturnType<typeof openSession>;
  const logged = loggedPolicy(policy, () => session.stream!.cache, log);
  const bytes = Math.floor(layout.expertBytesTotal * share);
  session = openSession(DEMO_MODEL, {
    memory: { kind: "experts", bytes },
    policy: logged,
    contextSize: 128,
    threads: 1,
  });
  using open = session;
  const tokens = Int32Array.from(open.model.vocabulary.tokenize(HELD_OUT)).subarray(0, TOKENS);
  expect(tokens.length).toBe(TOKENS);
  const { sample } = recordSession(open, shape, tokens, PROMPT_TOKENS);
  const statistics = open.statistics().cache!;
  return { log, sample, statistics, cacheBytes: open.plan.expertBudgetBytes };
}

describe.each([0.15, 0.4, 0.75])("with %d of the experts", (share) => {
  test.each(["on-demand", "lru", "lfu", "lfu-decayed", "lfu-per-layer", "next-use"])("%s", async (name) => {
    const live = liveRun(name, share);
    const { experts, expertsUsed, expertBytes } = shape;
    const trace = describedTrace({ experts, expertsUsed, expertBytes }, [live.sample]);
    const log: string[] = [];
    const replay = new Replay({
      ...{ trace, machine, cacheBytes: live.cacheBytes, policy: replayPolicy(name) },
      passes: { as: "recorded" },
      onDecision: (decision, key) => void log.push(`${decision} ${key}`),
    });
    replay.sample(live.sample);
    const figures = replay.figures();
    const kinds = new Set(live.log.map((line) => line.split(" ")[0]));
    expect(kinds).toContain("miss");
    expect(kinds).toContain(name === "on-demand" ? "discard" : "evict-demand");
    // The replay ends with its cache; the live session still held what a policy discards at the very end.
    expect(log.slice(0, live.log.length)).toEqual(live.log);
    expect(log.slice(live.log.length).filter((line) => !line.startsWith("discard"))).toEqual([]);
    for (const phase of ["prefill", "decode"] as const) {
      const { hits, misses, bytesDemanded, evictionsForDemand } = live.statistics[phase];
      expect(figures[phase].counters).toMatchObject({ hits, misses, bytesDemanded, evictionsForDemand });
    }
    // The same through the front door.
    const { rows } = await simulate(memoryTrace(trace, [live.sample]), {
      ...{ policies: [name], cacheBytes: [live.cacheBytes], machine, passes: { as: "recorded" } },
    });
    expect(rows[0].decodeTokens).toBe(TOKENS - PROMPT_TOKENS);
    expect(rows[0].misses).toBe(live.statistics.prefill.misses + live.statistics.decode.misses);
  });
});
