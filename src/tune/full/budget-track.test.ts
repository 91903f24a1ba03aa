import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BudgetTrack, followDivergence, lastingFactor, passingFactor } from "./budget-track.ts";

/** A model of what training does: the divergence goes towards the square of the weight, `lag` steps late. */
function divergences(steps: number, lag: number, budget: number, startWeight: number): number[] {
  const track: BudgetTrack = { soon: 0, long: 0 };
  let weight = startWeight;
  let divergence = 0;
  return Array.from({ length: steps }, () => {
    const strength = weight * passingFactor(track, budget);
    divergence += (0.05 * strength ** 2 - divergence) / lag;
    followDivergence(track, divergence);
    weight *= lastingFactor(track, budget);
    return divergence;
  });
}

describe("a weight that follows a budget", () => {
  test("brings the divergence to it from either side, and hardly beyond", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 25 }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        fc.constantFrom(0.01, 0.02, 0.1),
        (lag, startWeight, budget) => {
          const all = divergences(400, lag, budget, startWeight);
          const last = all.slice(-40);
          expect(last.reduce((sum, one) => sum + one, 0) / 40 / budget).toBeCloseTo(1, 1);
          expect(Math.max(...all.slice(60)) / budget).toBeLessThan(1.6);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("does nothing at once where nothing has moved yet", () => {
    expect(passingFactor({ soon: 0, long: 0 }, 0.02)).toBe(1);
    expect(lastingFactor({ soon: 0, long: 0 }, 0.02)).toBeCloseTo(Math.exp(0.04), 12);
  });

  test("a budget of 0 gives factors that can be divided by", () => {
    for (const soon of [0, 1e-3, 1])
      for (const factor of [passingFactor({ soon, long: 0 }, 0), lastingFactor({ soon, long: 0 }, 0)]) {
        expect(factor).toBeGreaterThan(0);
        expect(factor).toBeLessThanOrEqual(1);
      }
  });
});
