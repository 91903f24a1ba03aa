import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { weighExperts } from "../tune/router-forward.ts";
import type { SelectionRule } from "./cache-bias.ts";
import { ExpertSelector, type TokenScores } from "./select.ts";

/** A token whose router chooses the best `used` of its scores; equal ones as a sort that keeps their order would. */
function tokenOf(
  scores: readonly number[],
  used: number,
  resident: readonly number[],
  more: Partial<TokenScores> = {},
): TokenScores {
  const order = scores.map((_, e) => e).sort((a, b) => scores[b] - scores[a] || a - b);
  const shares = scores.map((score) => Math.exp(score - scores[order[0]]));
  const sum = shares.reduce((a, b) => a + b);
  return {
    scores: Float64Array.from(scores),
    probabilities: Float32Array.from(shares, (share) => share / sum),
    resident: Uint8Array.from(scores, (_, e) => (resident.includes(e) ? 1 : 0)),
    stock: Int32Array.from(order.slice(0, used)),
    alwaysKeep: 1,
    meanRange: scores[order[0]] - Math.min(...scores.filter(Number.isFinite)),
    ...more,
  };
}

function choose(rule: SelectionRule, token: TokenScores): { pick: number[]; swaps: number } {
  const pick = new Int32Array(token.stock.length);
  const swaps = new ExpertSelector(token.scores.length).select(rule, token, pick);
  return { pick: [...pick], swaps };
}

describe("the rule prior", () => {
  const z = [3, 2, 1, 0];

  test("gives the known answers", () => {
    const token = tokenOf(z, 2, [2], { meanRange: 3 });
    expect(choose({ kind: "prior", lambda: 0.5 }, token)).toEqual({ pick: [0, 2], swaps: 1 });
    expect(choose({ kind: "prior", lambda: 0.3 }, token)).toEqual({ pick: [0, 1], swaps: 0 });
  });

  test("leaves the weights to the original scores", () => {
    const { pick } = choose({ kind: "prior", lambda: 0.5 }, tokenOf(z, 2, [2], { meanRange: 3 }));
    const weights = new Float32Array(2);
    weighExperts(
      Float64Array.from(z, Math.exp),
      Int32Array.from(pick),
      { scoring: "softmax", normalizeWeights: true, weightScale: 1 },
      weights,
    );
    expect(weights[1] / weights[0]).toBeCloseTo(Math.exp(1 - 3), 6);
  });
});

test("max-rank takes residents among the best M, best first, and the best of all for what is left", () => {
  const token = tokenOf([5, 4, 3, 2, 1, 0], 3, [3, 5]);
  expect(choose({ kind: "max-rank", ranks: 3 }, token).pick).toEqual([0, 1, 2]);
  expect(choose({ kind: "max-rank", ranks: 4 }, token).pick).toEqual([0, 1, 3]);
  expect(choose({ kind: "max-rank", ranks: 6 }, token).pick).toEqual([0, 3, 5]);
  expect(choose({ kind: "max-rank", ranks: 6 }, { ...token, alwaysKeep: 2 }).pick).toEqual([0, 1, 3]);
});

test("cumulative-mass looks as far as the mass reaches", () => {
  const logits = [0.5, 0.25, 0.15, 0.1].map(Math.log);
  const token = tokenOf(logits, 2, [2, 3]);
  expect(choose({ kind: "cumulative-mass", mass: 0.7 }, token).pick).toEqual([0, 1]);
  expect(choose({ kind: "cumulative-mass", mass: 0.8 }, token).pick).toEqual([0, 2]);
  expect(choose({ kind: "cumulative-mass", mass: 0.95 }, { ...token, alwaysKeep: 0 }).pick).toEqual([2, 3]);
});

const rules = fc.oneof(
  fc.record({ kind: fc.constant("prior" as const), lambda: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant("max-rank" as const), ranks: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant("cumulative-mass" as const), mass: fc.double({ min: 0, max: 1, noNaN: true }) }),
);
/** Scores from a few values, so that some are equal, with some experts left out as of groups that were not chosen. */
const tokens = fc
  .record({ experts: fc.integer({ min: 4, max: 16 }), used: fc.integer({ min: 1, max: 3 }), keep: fc.nat(3) })
  .chain(({ experts, used, keep }) =>
    fc.record({
      scores: fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ min: -5, max: 5, noNaN: true })), {
        minLength: experts,
        maxLength: experts,
      }),
      masked: fc.subarray(Array.from({ length: experts - used }, (_, i) => i)),
      resident: fc.subarray(Array.from({ length: experts }, (_, i) => i)),
      used: fc.constant(used),
      alwaysKeep: fc.constant(Math.min(keep, used)),
    }),
  )
  .map(({ scores, masked, resident, used, alwaysKeep }) =>
    tokenOf(
      scores.map((score, e) => (masked.includes(e) ? Number.NEGATIVE_INFINITY : score)),
      used,
      resident,
      { alwaysKeep },
    ),
  );

describe("every rule", () => {
  test("chooses different experts that may be chosen, the best by their own scores first", () => {
    fc.assert(
      fc.property(rules, tokens, (rule, token) => {
        const { pick, swaps } = choose(rule, token);
        expect(new Set(pick).size).toBe(token.stock.length);
        const own = pick.map((expert) => token.scores[expert]);
        expect(own.every((score) => score > Number.NEGATIVE_INFINITY)).toBe(true);
        expect(own).toEqual([...own].sort((a, b) => b - a));
        expect(swaps).toBe(pick.filter((expert) => !token.stock.includes(expert)).length);
      }),
    );
  });

  test("keeps the best J", () => {
    fc.assert(
      fc.property(rules, tokens, (rule, token) => {
        const { pick } = choose(rule, token);
        expect(pick).toEqual(expect.arrayContaining([...token.stock.subarray(0, token.alwaysKeep)]));
      }),
    );
  });

  test("brings in residents only, for others only", () => {
    fc.assert(
      fc.property(rules, tokens, (rule, token) => {
        const { pick } = choose(rule, token);
        const added = pick.filter((expert) => !token.stock.includes(expert));
        const dropped = [...token.stock].filter((expert) => !pick.includes(expert));
        expect(added.every((expert) => token.resident[expert] === 1)).toBe(true);
        expect(dropped.every((expert) => token.resident[expert] === 0)).toBe(true);
      }),
    );
  });

  test("does nothing when it may not, or need not", () => {
    const idle: SelectionRule[] = [
      { kind: "prior", lambda: 0 },
      { kind: "max-rank", ranks: 1 },
      { kind: "cumulative-mass", mass: 0 },
    ];
    fc.assert(
      fc.property(rules, fc.constantFrom(...idle), tokens, (rule, none, token) => {
        expect(choose(none, token).swaps).toBe(0);
        const everything = { ...token, resident: token.resident.slice().fill(1) };
        expect(choose(rule, everything).swaps).toBe(0);
        expect(choose(rule, { ...token, resident: token.resident.slice().fill(0) }).swaps).toBe(0);
      }),
    );
  });

  test("swaps no less when lambda grows", () => {
    fc.assert(
      fc.property(
        tokens,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (token, a, b) => {
          const swaps = (lambda: number) => choose({ kind: "prior", lambda }, token).swaps;
          expect(swaps(Math.max(a, b))).toBeGreaterThanOrEqual(swaps(Math.min(a, b)));
        },
      ),
    );
  });
});
