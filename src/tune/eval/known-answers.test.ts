/** The specification's answers (remoe.md, section 5) to overlap and cache replay, and what holds on every routing. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { NO_ID } from "../../trace/trace.ts";
import { type CacheCell, CacheCounter, cacheCells, cacheSizes } from "./cache-cells.ts";
import { DocumentSummer } from "./document-sums.ts";
import { type RoutedDocument, repetitionOf } from "./routed-document.ts";
import { SegmentCounts } from "./segment-counts.ts";

const document = (experts: readonly (readonly number[])[], layers = 1): RoutedDocument => ({
  ...{ domain: "text", tokens: experts.length / layers, experts: Uint16Array.from(experts.flat()) },
  ...{ drift: undefined, repetition: 0 },
});

const lru = (expertsPerLayer: number, accounting: CacheCell["accounting"] = "set"): CacheCell => ({
  ...{ scope: "layer", policy: "lru", accounting, expertsPerLayer },
});

it("K = 2 and {0,1}, {1,2}, {1,2}: an overlap of 0.75, and half of the look-ups hit at C = 2", () => {
  const shape = { layers: 1, experts: 4, expertsUsed: 2 };
  const summer = new DocumentSummer(shape, [lru(2)]);
  const { columns } = summer;
  const row = summer.row(
    document(
      [
        [0, 1],
        [1, 2],
        [1, 2],
      ].map((token) => token),
    ),
    new Float64Array(4),
  );
  expect(row[columns.overlap] / row[columns.overlapUses]).toBe(0.75);
  expect(row[columns.hits] / row[columns.uses]).toBe(0.5);
});

it("one after the other breaks proposition 3.1: [1, 0] and then {2, 1} are two misses, together one", () => {
  const shape = { layers: 1, experts: 4, expertsUsed: 2 };
  const counter = new CacheCounter(shape, [lru(2), lru(2, "sequential")]);
  // The first token leaves 1 as the oldest: a token's experts count as used in their order.
  const [set, sequential] = counter.hits(
    document([
      [1, 0],
      [2, 1],
    ]),
  );
  expect([4 - set, 4 - sequential]).toEqual([3, 4]);
});

it("the authors' counts: 128 prompts of 64 tokens, 26 layers, K = 6", () => {
  const requests = 128 * 64 * 26 * 6;
  expect(requests).toBe(1_277_952);
  expect(Math.round(requests * (1 - 0.3187))).toBe(870_669);
  expect(Math.round(requests * (1 - 0.3687))).toBe(806_771);
});

const routing = fc
  .record({
    layers: fc.integer({ min: 1, max: 3 }),
    experts: fc.integer({ min: 4, max: 9 }),
    expertsUsed: fc.integer({ min: 1, max: 3 }),
    tokens: fc.integer({ min: 2, max: 40 }),
    seed: fc.integer(),
  })
  .map(({ seed, tokens, ...shape }) => {
    let state = seed | 1;
    const draw = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      return (state >>> 16) % below;
    };
    const rows = Array.from({ length: tokens * shape.layers }, () => {
      const chosen = new Set<number>();
      while (chosen.size < shape.expertsUsed) chosen.add(draw(shape.experts));
      return [...chosen];
    });
    return { shape, tokens, document: document(rows, shape.layers) };
  });

it("hits together at C = K are EOR x (T - 1) / T, and fetches per token at most K (1 - EOR) + K / T", () => {
  fc.assert(
    fc.property(routing, ({ shape, tokens, document: own }) => {
      const summer = new DocumentSummer(shape, [lru(shape.expertsUsed)]);
      const { columns } = summer;
      const row = summer.row(own, new Float64Array(shape.layers * shape.experts));
      let eor = 0;
      for (let layer = 0; layer < shape.layers; layer++)
        eor += row[columns.overlap + layer] / row[columns.overlapUses + layer] / shape.layers;
      expect(row[columns.hits] / row[columns.uses]).toBeCloseTo((eor * (tokens - 1)) / tokens, 12);
      const fetches = (row[columns.uses] - row[columns.hits]) / tokens / shape.layers;
      expect(fetches).toBeLessThanOrEqual(shape.expertsUsed * (1 - eor) + shape.expertsUsed / tokens + 1e-12);
    }),
  );
});

it("Belady hits at least as often as LRU and LFU, and a larger LRU cache at least as often as a smaller", () => {
  fc.assert(
    fc.property(routing, ({ shape, document: own }) => {
      const cells = cacheCells(cacheSizes(shape));
      const hits = new CacheCounter(shape, cells).hits(own);
      const at = (cell: CacheCell) => hits[cells.findIndex((one) => JSON.stringify(one) === JSON.stringify(cell))];
      for (const cell of cells) {
        // Only looked up one at a time is Belady's rule the best one; together, hits do not depend on the order within a token.
        if (cell.accounting === "sequential")
          expect(at({ ...cell, policy: "belady" })).toBeGreaterThanOrEqual(at(cell));
        if (cell.policy !== "lru") continue;
        const larger = cells.find((one) => one.expertsPerLayer > cell.expertsPerLayer && sameBut(one, cell));
        if (larger !== undefined) expect(at(larger)).toBeGreaterThanOrEqual(at(cell));
      }
    }),
  );
});

it("caches that go on from document to document hit what one long document does, and Belady at least what LRU does", () => {
  fc.assert(
    fc.property(routing, fc.integer({ min: 1, max: 39 }), ({ shape, tokens, document: whole }, cut) => {
      fc.pre(cut < tokens);
      const slots = shape.layers * shape.expertsUsed;
      const part = (from: number, to: number): RoutedDocument => ({
        ...whole,
        ...{ tokens: to - from, experts: whole.experts.slice(from * slots, to * slots) },
      });
      const cells = cacheCells(cacheSizes(shape));
      const counter = new CacheCounter(shape, cells);
      const [first, all] = [counter.hits(part(0, cut)), counter.hits(whole)];
      const second = counter.hits(part(cut, tokens), part(0, cut));
      for (const [i, cell] of cells.entries()) {
        const lru = cells.findIndex(
          (one) =>
            one.policy === "lru" &&
            sameBut({ ...one, policy: cell.policy }, cell) &&
            one.expertsPerLayer === cell.expertsPerLayer,
        );
        if (cell.policy === "belady") expect(second[i]).toBeGreaterThanOrEqual(second[lru]);
        else expect(first[i] + second[i]).toBe(all[i]);
      }
    }),
  );
});

it("a layer that uses fewer experts has fewer look-ups", () => {
  const shape = { layers: 2, experts: 4, expertsUsed: 2 };
  const summer = new DocumentSummer(shape, cacheCells([2]));
  const uses = new Float64Array(8);
  const row = summer.row(
    document(
      [
        [0, 1],
        [2, NO_ID],
        [0, 1],
        [2, NO_ID],
      ],
      2,
    ),
    uses,
  );
  expect(row[summer.columns.uses]).toBe(6);
  expect([...uses]).toEqual([2, 2, 0, 0, 0, 0, 2, 0]);
  expect([...row.subarray(summer.columns.hits)].every((hits) => hits === 3)).toBe(true);
});

it("SRP is 1 for a router that stays with its experts, and lower for one that changes them", () => {
  const shape = { layers: 1, experts: 4, expertsUsed: 1 };
  const srp = (routing: number[]) => {
    const counts = new SegmentCounts(shape);
    counts.add(document(routing.map((expert) => [expert])));
    return counts.srp;
  };
  expect(srp(new Array<number>(20).fill(2))).toBe(1);
  // Two experts in turn: both are predicted for all 16 tokens, and each is right for 8.
  expect(srp(Array.from({ length: 16 }, (_, t) => t % 2))).toBeCloseTo(2 / 3, 12);
  expect(srp([0, 1, 2])).toBeNull();
});

it("reuse at a lag asks for that token alone", () => {
  const summer = new DocumentSummer({ layers: 1, experts: 4, expertsUsed: 1 }, []);
  const { columns } = summer;
  const row = summer.row(document([[0], [1], [0], [2], [0]]), new Float64Array(4));
  const rate = (lag: number) => [row[columns.reused + lag - 1], row[columns.reusable + lag - 1]];
  expect([rate(1), rate(2), rate(3), rate(4)]).toEqual([
    [0, 4],
    [2, 3],
    [0, 2],
    [1, 1],
  ]);
});

it("runs of four that come again are repetition", () => {
  expect(repetitionOf([1, 2, 3, 4, 5, 6])).toBe(0);
  expect(repetitionOf([1, 2, 1, 2, 1, 2, 1, 2])).toBe(3 / 5);
});

function sameBut(a: CacheCell, b: CacheCell): boolean {
  return a.policy === b.policy && a.scope === b.scope && a.accounting === b.accounting;
}
