/** A `finemoe` policy over a cache, driven layer by layer by hand; reads complete when the test says so. */
import { ExpertCache } from "../../cache/expert-cache.ts";
import type { LoadKind, Phase } from "../../cache/policy.ts";
import type { ExpertKey, ModelShape } from "../../cache/shape.ts";
import { type PolicyResources, policyByName } from "../by-name.ts";
import { topOf } from "./synthetic-text.test-data.ts";

export function driveFineMoe(
  shape: ModelShape,
  name: string,
  { slots, resources = {} }: { readonly slots: number; readonly resources?: PolicyResources },
) {
  const policy = policyByName(name, resources);
  const told: string[] = [];
  const pending: ExpertKey[] = [];
  const cache = new ExpertCache(shape, slots * shape.expertBytes[0], policy, {
    evict: (key) => void told.push(`evict ${key}`),
    load(key: ExpertKey, kind: LoadKind) {
      told.push(`${kind} ${key}`);
      pending.push(key);
    },
  });
  let iterations = 0;
  let nowMs = 1;
  const driver = {
    cache,
    policy,
    figures: () => policy.figures?.() ?? {},
    /** What happened since it was asked last. */
    told: () => told.splice(0),
    arrive() {
      for (const key of pending.splice(0)) cache.completed(key);
    },
    wait(ms: number) {
      nowMs += ms;
    },
    begin(
      tokenIds: readonly number[],
      { phase = "decode" as Phase, request = 0, embeddings = undefined as Float32Array | undefined } = {},
    ) {
      const iteration = iterations++;
      const tokens = tokenIds.length;
      cache.iteration({ phase, iteration, request, nowMs, tokens, tokenIds: Int32Array.from(tokenIds), embeddings });
    },
    /** A layer's router has decided; `rows` are the tokens' distributions. Nothing arrives by itself. */
    route(
      layer: number,
      rows: readonly ArrayLike<number>[],
      { nextGate = undefined as Float32Array | undefined } = {},
    ) {
      const chosen = rows.map((row) => topOf(row, shape.expertsUsed));
      const distinct = Int32Array.from(new Set(chosen.flat()), (expert) => layer * shape.experts + expert);
      cache.routed({
        layer,
        nowMs,
        tokens: rows.length,
        expertsUsed: shape.expertsUsed,
        experts: Int32Array.from(chosen.flat()),
        weights: new Float32Array(rows.length * shape.expertsUsed).fill(1 / shape.expertsUsed),
        distinct,
        distinctCount: distinct.length,
        probabilities: Float32Array.from(rows.flatMap((row) => Array.from(row))),
        nextGate,
        hidden: undefined,
      });
    },
    /** Asks for reads ahead. */
    speculate: (experts = 100) => cache.speculate(experts * shape.expertBytes[0]),
    /** One whole token with nothing read ahead. */
    token(id: number, map: ArrayLike<number>, more: object = {}) {
      driver.begin([id], more);
      for (let layer = 0; layer < shape.layers; layer++) {
        driver.route(layer, [rowOf(shape, map, layer)]);
        driver.arrive();
      }
    },
  };
  return driver;
}

export function rowOf(shape: ModelShape, map: ArrayLike<number>, layer: number): number[] {
  return Array.from({ length: shape.experts }, (_, expert) => map[layer * shape.experts + expert]);
}
