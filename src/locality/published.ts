/**
 * The values that the authors of local routing consistency published for twenty models (arXiv 2505.16056 v4), to compare a
 * trace with. Read out of their plots, exact to 0.01 percentage points where the paper prints them too.
 */
import published from "./published.json" with { type: "json" };
import type { PublishedPoint, PublishedRow, TokenKind } from "./report-data.ts";
import { srpGain } from "./srp.ts";

type Model = (typeof published.models)[number];

const VOCABULARY_FIELDS = [
  ["input", "vocabIn"],
  ["predicted", "vocabPred"],
  ["next", "vocabNext"],
] as const satisfies readonly (readonly [TokenKind, string])[];

const POLICY_FIELDS = [
  ["lru", "LRU"],
  ["lfu", "LFU"],
  ["belady", "Belady"],
] as const;

/** Those with the same k/E first, then by how near k/E is. */
export function publishedRows(experts: number, expertsUsed: number): PublishedRow[] {
  const share = expertsUsed / experts;
  const distance = (row: PublishedRow) => Math.abs(Math.log(row.expertsUsed / row.experts / share));
  return published.models
    .map((model) => publishedRow(model, share))
    .sort((a, b) => distance(a) - distance(b) || headline(b) - headline(a));
}

function headline({ srp }: PublishedRow): number {
  return srp.find(({ segmentLength }) => segmentLength === 16)?.srp ?? 0;
}

function publishedRow(model: Model, share: number): PublishedRow {
  const { key, name, stack, experts, topK, sharedExperts, moeLayers, group, loadBalanceSdPct, specialisation } = model;
  return {
    key,
    // Encoder and decoder of a model are apart, and have one name in the paper.
    name: stack === "decoder-only" ? name : `${name} ${stack}`,
    experts,
    expertsUsed: topK,
    sharedExperts,
    moeLayers: moeLayers.length,
    group,
    sameShare: Math.abs(topK / experts - share) < 1e-9,
    loadBalanceSd: loadBalanceSdPct === null ? null : loadBalanceSdPct / 100,
    srp: entries(model.srp).flatMap(([segmentLength, { value, rhoHat, iid }]) =>
      value === null || rhoHat === null
        ? []
        : [{ segmentLength, srp: value, idealCacheRatio: rhoHat, srpIid: iid, srpGain: srpGain(value, iid) }],
    ),
    sch: entries(model.sch).map(([segmentLength, rates]) => ({ segmentLength, points: points(rates) })),
    chr: POLICY_FIELDS.map(([policy, field]) => ({ policy, points: points(model.chr[field]) })),
    srpByLayer: model.srpByLayer["16"],
    domainCv: specialisation.domainCv,
    vocabulary: VOCABULARY_FIELDS.flatMap(([kind, field]) => {
      const value = specialisation[field];
      return value === null ? [] : [{ kind, ...value }];
    }),
  };
}

function points(rates: Readonly<Record<string, number | null>>): PublishedPoint[] {
  return entries(rates).map(([cacheRatio, hitRate]) => ({ cacheRatio, hitRate }));
}

/** By number, without what was not published. */
function entries<T>(record: Readonly<Record<string, T>>): [number, NonNullable<T>][] {
  return Object.entries(record)
    .flatMap(([key, value]): [number, NonNullable<T>][] =>
      value === null || value === undefined ? [] : [[Number(key), value]],
    )
    .sort(([a], [b]) => a - b);
}
