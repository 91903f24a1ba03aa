import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Residents } from "../cache/policy.ts";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../cache/shape.ts";
import { ColdestOfLayer } from "./coldest.ts";

const shape: ModelShape = { layers: 3, experts: 5, expertsUsed: 1, expertBytes: [1, 1, 1] };

/** Residents as plain sets, to change at will. */
class SomeResidents implements Residents {
  readonly keys = new Set<ExpertKey>();
  readonly busy = new Set<ExpertKey>();
  readonly budgetBytes = 15;
  get count() {
    return this.keys.size;
  }
  get usedBytes() {
    return this.keys.size;
  }
  at(i: number) {
    return [...this.keys][i] as ExpertKey;
  }
  has(key: ExpertKey) {
    return this.keys.has(key);
  }
  evictable(key: ExpertKey) {
    return this.keys.has(key) && !this.busy.has(key);
  }
}

test("is what a search through all residents finds, whatever happened before", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = randomNumbers(seed);
      const pick = (n: number) => Math.floor(random() * n);
      const score = new Float64Array(15);
      const tieBreak = new Float64Array(15);
      const coldest = new ColdestOfLayer(shape, score, tieBreak);
      const residents = new SomeResidents();
      for (let step = 0; step < 80; step++) {
        const layer = pick(3);
        const key = (layer * 5 + pick(5)) as ExpertKey;
        const action = pick(5);
        if (action === 0) {
          for (let i = layer * 5; i < layer * 5 + 5; i++) score[i] = pick(3);
          for (let i = layer * 5; i < layer * 5 + 5; i++) tieBreak[i] = pick(3);
          coldest.rescored(layer);
        } else if (action === 1 && !residents.has(key)) {
          residents.keys.add(key);
          coldest.added(key);
        } else if (action === 2 && residents.evictable(key)) {
          coldest.removed(key);
          residents.keys.delete(key);
        } else if (action === 3) {
          // Pins, reads in flight and protection come and go without a word to the policy.
          if (!residents.busy.delete(key)) residents.busy.add(key);
        } else if (action === 4) residents.keys.delete(key); // A read that was called off.
        const free = [...residents.keys].filter((k) => Math.floor(k / 5) === layer && residents.evictable(k));
        const order = (a: ExpertKey, b: ExpertKey) =>
          (score[a] as number) - (score[b] as number) || (tieBreak[a] as number) - (tieBreak[b] as number) || a - b;
        expect(coldest.of(layer, residents)).toBe(free.sort(order)[0] ?? NO_EXPERT);
      }
    }),
    { numRuns: 300 },
  );
});
