import { describe, expect, test } from "vitest";
import { RoutingCollapse, type StepUses } from "./routing-collapse.ts";

const TOKENS = 4096;
/** A step in two layers: an even one, and one with these shares of the uses. */
const step = (shares: readonly number[]): StepUses => ({
  tokens: TOKENS,
  uses: [
    Float64Array.from(shares, () => (2 * TOKENS) / shares.length),
    Float64Array.from(shares, (s) => s * 2 * TOKENS),
  ],
});
const EVEN = step([0.25, 0.25, 0.25, 0.25]);
const watch = () => new RoutingCollapse(Array.from({ length: 8 }, () => EVEN));

describe("RoutingCollapse", () => {
  test("finds a starved expert, uneven loads and experts that are gone, in their layer", () => {
    const judged = (shares: readonly number[]) => {
      const collapse = watch();
      return Array.from({ length: 8 }, () => collapse.add(step(shares))).at(-1);
    };
    expect(judged([0.25, 0.25, 0.25, 0.25])).toBeUndefined();
    expect(judged([0.35, 0.2, 0.25, 0.2])).toBeUndefined();
    expect(judged([0.3337, 0.3337, 0.3316, 0.001])).toMatch(/^In MoE layer 1: The least used expert has 0.4 %/);
    expect(judged([0.6, 0.2, 0.1, 0.1])).toMatch(/^In MoE layer 1: The load varies by 0.82/);
  });

  test("judges many steps together, and forgets the early ones", () => {
    const collapse = watch();
    const starved = step([0.5, 0.5, 0, 0]);
    for (let i = 0; i < 7; i++) expect(collapse.add(starved)).toBeUndefined();
    expect(collapse.add(starved)).toBeDefined();
    const last = Array.from({ length: 8 }, () => collapse.add(EVEN));
    expect(last.at(0)).toBeDefined();
    expect(last.at(-1)).toBeUndefined();
  });

  test("holds locality back where the load gets uneven, and not where it was", () => {
    const even = Float32Array.of(0.5, 0.5, 0.5, 0.5);
    const brakesAt = (shares: readonly number[]) => watch().brakes([even, Float32Array.from(shares)]);
    expect(brakesAt([0, 0, 0, 0])).toEqual([1, 1]);
    expect(brakesAt([0.55, 0.45, 0.5, 0.5])).toEqual([1, 1]);
    const [, half] = brakesAt([0.7, 0.3, 0.7, 0.3]);
    expect(half).toBeCloseTo((0.5 - 0.4) / (0.5 - 0.35), 5);
    expect(brakesAt([1, 0.2, 0.6, 0.2])).toEqual([1, 0]);
    const uneven = step([0.7, 0.2, 0.1, 0]);
    const collapse = new RoutingCollapse(Array.from({ length: 8 }, () => uneven));
    expect(collapse.brakes([even, Float32Array.of(1.4, 0.4, 0.2, 0)])[1]).toBeCloseTo(1, 5);
  });

  test("says nothing of an uneven base, nor of too few uses", () => {
    const uneven = step([0.7, 0.2, 0.1, 0]);
    const collapse = new RoutingCollapse(Array.from({ length: 8 }, () => uneven));
    for (let i = 0; i < 9; i++) expect(collapse.add(uneven)).toBeUndefined();
    const few = new RoutingCollapse([{ tokens: 64, uses: [new Float64Array(32).fill(4)] }]);
    expect(
      few.add({ tokens: 64, uses: [Float64Array.from({ length: 32 }, (_, e) => (e === 0 ? 128 : 0))] }),
    ).toBeUndefined();
  });
});
