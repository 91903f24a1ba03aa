/** Nothing may be put on the heap at a router stop: what is has to be collected one day, in the middle of a token. */
import { expect, test } from "vitest";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { policyNames } from "../policy/index.ts";
import { COST_SHAPES, type CostJob, type PolicyCost } from "./policy-cost.ts";
import { HEAP_FLAGS } from "./policy-cost-flags.ts";
import { generateRouting } from "./policy-cost-routing.ts";
import { runBenchChild } from "./run-child.ts";

/** A stop of the cache alone leaves 2 bytes; a number kept for each of a layer's 32 experts would be 512. */
const MOST_BYTES = 64;
/**
 * Forecasts of maps come when their thread has them, up to seven layers' at a stop, and for each some numbers (scores, chances)
 * cross calls that V8 does not write out in place. A number for each expert, or one for each resident, would be many times this.
 */
const MOST_BYTES_WITH_MAPS = 2048;

async function costOf(policy: string, more: Partial<CostJob> = {}): Promise<PolicyCost> {
  const job: CostJob = {
    ...{ policy, shape: COST_SHAPES[0], stops: 10_000, warmupStops: 5000, share: 0.25, pauseMs: 0 },
    ...more,
  };
  const nodeFlags = [...HOST_NODE_FLAGS, ...HEAP_FLAGS];
  const outcome = await runBenchChild("./policy-cost-run.js", job, { nodeFlags, timeoutMs: 50_000 });
  if (outcome.status === "failed") throw new Error(outcome.reason);
  return outcome.result as PolicyCost;
}

test.each(policyNames().map((name) => (name.startsWith("+") ? `lru${name}` : name)))(
  "%s leaves next to nothing on the heap at a stop",
  async (name) => {
    const { bytesPerStop, stops, stopUs, tokenUs } = await costOf(name);
    expect(stops).toBe(10_000);
    expect(bytesPerStop).toBeLessThan(name.startsWith("finemoe") ? MOST_BYTES_WITH_MAPS : MOST_BYTES);
    expect(stopUs.p99).toBeGreaterThanOrEqual(stopUs.p50);
    // 2 % of a token of 100 ms, with room for a machine that does other things.
    expect(tokenUs.mean).toBeGreaterThan(0);
    expect(tokenUs.p50).toBeLessThan(2000);
  },
);

test("what allocates is seen", async () => {
  // Never warm: V8's interpreter puts every number with a fraction on the heap.
  const { bytesPerStop } = await costOf("next-use", { stops: 80, warmupStops: 8 });
  expect(bytesPerStop).toBeGreaterThan(MOST_BYTES);
});

test("the generated routing is the same each time, and of the kind that routers make", () => {
  const shape = { layers: 3, experts: 16, expertsUsed: 4, hiddenSize: 8, expertBytes: [1, 1, 1] };
  const routing = generateRouting(shape, 50);
  expect(generateRouting(shape, 50)).toEqual(routing);
  const { probabilities, nextGate, experts } = routing;
  let named = 0;
  for (let row = 0; row < 50 * 3; row++) {
    const shares = Array.from(probabilities.subarray(row * 16, (row + 1) * 16));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 4);
    const ranked = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 4);
    const chosen = [...experts.subarray(row * 4, (row + 1) * 4)];
    expect(chosen).toEqual(ranked);
    // What the layer before says of this one names most of its experts.
    if (row % 3 === 0) continue;
    const said = Array.from(nextGate.subarray((row - 1) * 16, row * 16));
    const guessed = [...said.keys()].sort((a, b) => said[b] - said[a]).slice(0, 4);
    named += guessed.filter((expert) => chosen.includes(expert)).length / (4 * 100);
  }
  expect(named).toBeGreaterThan(0.6);
  expect(named).toBeLessThan(0.95);
});
