/**
 * With one least recently used cache for each layer the engine's live hit rate is the set-level rate that reports compute from
 * its own trace (remoe.md, section 5). Mixtral-Offload without reading ahead is that cache.
 */
import { expect, test } from "vitest";
import { recordSession } from "../../src/bench/recorded-session.ts";
import { openSession } from "../../src/engine/open-session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { makeRuntimeScratch, runtimeHits } from "../../src/locality/runtime-caches.ts";
import { policyByName } from "../../src/policy/index.ts";
import { computeByBytes, plainDisk, Replay, replayPolicy } from "../../src/simulate/index.ts";
import { describedTrace } from "../../src/simulate/traces.test-data.ts";
import { CacheCounter } from "../../src/tune/eval/cache-cells.ts";
import { layerSequence, type RoutedDocument } from "../../src/tune/eval/routed-document.ts";
import { DEMO_MODEL, HELD_OUT } from "./demo-text.ts";

const POLICY = "mixtral-offload:speculate=0,buffers=1";
const TOKENS = 96;
const layout = readMoeLayout(openGguf(DEMO_MODEL));
const shape = toModelShape(layout);
const { layers, experts, expertsUsed, expertBytes } = shape;

/** Token by token from the first one on: a prompt would borrow room from other layers. */
function liveRun(expertsPerLayer: number) {
  using session = openSession(DEMO_MODEL, {
    // One more than the layers' caches: the policy's buffer for reading ahead, which stays empty.
    memory: { kind: "experts", bytes: (layers * expertsPerLayer + 1) * expertBytes[0] },
    ...{ policy: policyByName(POLICY), contextSize: 128, threads: 1 },
  });
  const tokens = Int32Array.from(session.model.vocabulary.tokenize(HELD_OUT)).subarray(0, TOKENS);
  const { sample } = recordSession(session, shape, tokens, 1);
  return { sample, counters: session.statistics().cache!.decode, cacheBytes: session.plan.expertBudgetBytes };
}

test.each([expertsUsed, 2 * expertsUsed, experts / 2])("%d experts a layer", (expertsPerLayer) => {
  const { sample, counters, cacheBytes } = liveRun(expertsPerLayer);
  const document: RoutedDocument = {
    ...{ domain: "prose", tokens: TOKENS, experts: sample.experts, drift: undefined, repetition: 0 },
  };
  const { hits, misses, lateHits } = counters;
  expect(hits + misses).toBe(TOKENS * layers * expertsUsed);
  expect(lateHits).toBe(0);

  const scratch = makeRuntimeScratch(experts);
  const ones = new Float64Array(experts).fill(1);
  const layerHits = Array.from({ length: layers }, (_, layer) =>
    runtimeHits(layerSequence(document, layer, shape), undefined, expertsPerLayer, ones, scratch),
  );
  expect(layerHits.reduce((sum, own) => sum + own, 0)).toBe(hits);

  const trace = describedTrace({ experts, expertsUsed, expertBytes }, [sample]);
  const replay = new Replay({
    ...{ trace, cacheBytes, policy: replayPolicy(POLICY), passes: { as: "recorded" } },
    machine: {
      disk: plainDisk({ bytesPerSecond: 1e9 }),
      compute: computeByBytes({ shape, denseBytes: layout.denseBytes }, 5),
      engine: { msPerStop: 0.05, msPerHandover: 0.1, msPerRequest: 0.02 },
    },
  });
  // The recording calls the first token the prompt; to the engine it was a token like the others.
  replay.sample(sample);
  const { prefill, decode } = replay.figures();
  expect(prefill.counters.hits + decode.counters.hits).toBe(hits);
  expect(prefill.counters.misses + decode.counters.misses).toBe(misses);

  // Curves of all sizes cannot know which of a token's experts will miss: those count as used in the router's order, not
  // misses behind hits. At C = K that is no difference.
  const [counted] = new CacheCounter(shape, [
    { scope: "layer", policy: "lru", accounting: "set", expertsPerLayer },
  ]).hits(document);
  if (expertsPerLayer === expertsUsed) expect(counted).toBe(hits);
  else expect(Math.abs(counted - hits) / (hits + misses)).toBeLessThan(0.005);
});
