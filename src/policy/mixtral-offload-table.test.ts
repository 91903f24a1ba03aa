/**
 * The shape of Mixtral-Offload's table of ablations on a recorded run of a real model: in the report each of its two ideas
 * makes decoding faster, and all of it is 2.2 to 3.2 times as fast as loading whole layers. Here bytes that a token has to
 * wait for stand for time, and the next router's scores are the recorded choice seen through noise.
 */
import { expect, test } from "vitest";
import { readRouteTrace } from "../../test/traces/route-trace.ts";
import { type RecordedRouting, randomNumbers } from "../cache/replay.test-data.ts";
import { drive } from "./driven-policy.test-data.ts";
import { mixtralOffload } from "./mixtral-offload.ts";
import { onDemand } from "./on-demand.ts";

const { shape, iterations } = readRouteTrace("gptoss");
const steps = iterations.filter(({ phase }) => phase === "decode");
const [expertBytes = 0] = shape.expertBytes;
const budgetBytes = Math.floor(shape.layers * shape.experts * expertBytes * 0.25);

/** The next layer's choice above all others, except that noise puts another expert in place of one in five of them. */
function scoresOf(next: RecordedRouting | undefined, random: () => number): readonly number[] | undefined {
  if (next === undefined) return undefined;
  const scores = Array.from({ length: shape.experts }, () => random());
  for (const expert of next.experts)
    scores[random() < 0.8 ? expert : Math.floor(random() * shape.experts)] = 2 + random();
  return scores;
}

function bytesWaitedFor(policy: ReturnType<typeof onDemand>): { waited: number; read: number } {
  const { cache, iteration, routed, arrive } = drive(shape, budgetBytes, policy);
  const random = randomNumbers(1);
  for (const { stops } of steps) {
    iteration();
    for (const [i, stop] of stops.entries()) {
      routed(stop.layer, [[...stop.experts]], scoresOf(stops[i + 1], random));
      arrive();
      cache.speculate(4 * expertBytes);
      arrive();
    }
  }
  const { bytesDemanded, bytesPrefetched } = cache.statistics().decode;
  return { waited: bytesDemanded, read: bytesDemanded + bytesPrefetched };
}

test("the cache and then the speculation save what a token waits for; layers as a whole are far behind", () => {
  const whole = steps.length * shape.layers * shape.experts * expertBytes;
  const routedOnly = bytesWaitedFor(onDemand());
  const cached = bytesWaitedFor(mixtralOffload({ speculate: 0 }));
  const one = bytesWaitedFor(mixtralOffload({ speculate: 1 }));
  const full = bytesWaitedFor(mixtralOffload());
  expect(routedOnly.waited * (shape.experts / shape.expertsUsed)).toBe(whole);
  expect(cached.waited).toBeLessThan(routedOnly.waited / 1.27);
  expect(one.waited).toBeLessThan(cached.waited);
  expect(full.waited).toBeLessThan(one.waited);
  // Speculation moves bytes out of the way of the next layer; it does not save any.
  expect(full.read).toBeGreaterThan(cached.read);
});
