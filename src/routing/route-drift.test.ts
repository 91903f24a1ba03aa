import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RouteDrift, routeKl } from "./route-drift.ts";
import { RouteKlBound } from "./route-kl-bound.ts";

test("route KL is the difference of the KLs of both cut distributions from the whole", () => {
  const p = Float32Array.of(0.5, 0.25, 0.125, 0.125);
  const klOfCut = (chosen: readonly number[]) => {
    const mass = chosen.reduce((sum, e) => sum + p[e], 0);
    return chosen.reduce((sum, e) => sum + (p[e] / mass) * Math.log(p[e] / mass / p[e]), 0);
  };
  expect(routeKl(p, Int32Array.of(0, 1), Int32Array.of(0, 2))).toBeCloseTo(klOfCut([0, 2]) - klOfCut([0, 1]), 6);
  expect(routeKl(p, Int32Array.of(0, 1), Int32Array.of(0, 1))).toBe(0);
  // A choice by biased scores may have less mass than its replacement.
  expect(routeKl(p, Int32Array.of(2, 3), Int32Array.of(0, 1))).toBe(0);
  expect(routeKl(Float32Array.of(1, 0, 0), Int32Array.of(0), Int32Array.of(1))).toBeCloseTo(87.5, 1);
});

test("drift adds up over layers and tokens", () => {
  const drift = new RouteDrift(2);
  expect(drift.statistics()).toMatchObject({ tokens: 0, agreement: 1, swapRate: 0, routeKlMean: 0, routeKlP99: 0 });
  drift.decided(0, 4, 1, 0, 0.2);
  drift.decided(1, 4, 0, 2, 0);
  drift.decided(0, 4, 0, 0, 0);
  drift.decided(1, 4, 0, 0, 0);
  drift.finish();
  drift.decided(0, 4, 2, 0, 0.4);
  drift.finish();
  expect(drift.statistics()).toMatchObject({
    tokens: 3,
    decisions: 5,
    slots: 20,
    swaps: 3,
    swapsRefused: 2,
    swapRate: 0.15,
    agreement: 0.6,
  });
  expect(drift.statistics().routeKlMean).toBeCloseTo(0.12, 12);
  // The middle of 0, 0.1 and 0.4, of which 99 % are rounded down.
  expect(drift.statistics().routeKlP99).toBeCloseTo(0.1, 12);
});

describe("a bound on route KL", () => {
  test("is held at every moment, whatever is asked for", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 0.5, noNaN: true }), { maxLength: 2000 }),
        fc.double({ min: 1e-4, max: 0.1, noNaN: true }),
        (wanted, limit) => {
          const bound = new RouteKlBound(limit, 0.05, 1);
          let spent = 0;
          for (const [i, kl] of wanted.entries()) {
            if (bound.admit(kl)) spent += kl;
            expect(spent).toBeLessThanOrEqual((i + 1) * limit * (1 + 1e-9));
            expect(bound.lambda).toBeGreaterThan(0);
            expect(bound.lambda).toBeLessThanOrEqual(1);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("finds the lambda that spends it, and follows when swaps become dearer", () => {
    const bound = new RouteKlBound(0.01, 0.05, 1);
    let price = 0.5;
    const spend = (decisions: number) => {
      let refused = 0;
      for (let i = 0; i < decisions; i++) if (!bound.admit(price * bound.lambda ** 1.5)) refused++;
      return refused / decisions;
    };
    spend(8000);
    expect(price * bound.lambda ** 1.5).toBeCloseTo(0.009, 3);
    expect(spend(4000)).toBe(0);
    price = 2;
    spend(4000);
    expect(price * bound.lambda ** 1.5).toBeCloseTo(0.009, 3);
    expect(spend(4000)).toBe(0);
  });

  test("grows no farther than it may", () => {
    const bound = new RouteKlBound(0.01, 0.5, 0.3);
    expect(bound.lambda).toBe(0.3);
    for (let i = 0; i < 5000; i++) bound.admit(0);
    expect(bound.lambda).toBe(0.3);
  });
});
