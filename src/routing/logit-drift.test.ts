import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { BaseLogits } from "./base-logits.ts";
import { LogitDrift } from "./logit-drift.ts";

test("drift of logits gives known answers, whatever constant they have", () => {
  const drift = new LogitDrift();
  const logits = (p: readonly number[], constant: number) =>
    Float32Array.from(p, (share) => Math.log(share) + constant);
  drift.add(logits([0.5, 0.5], 3), logits([0.25, 0.75], -2), 1);
  drift.add(logits([0.75, 0.25], 0), logits([0.75, 0.25], 1), 1);
  const { meanKl, maxKl, p99Kl, tokens, top1Agreement, perplexity, basePerplexity, lossChangeError } =
    drift.statistics();
  expect(tokens).toBe(2);
  expect(maxKl).toBeCloseTo(0.14384, 5);
  expect(meanKl).toBeCloseTo(0.14384 / 2, 5);
  expect(p99Kl).toBeCloseTo(0, 6);
  // The first of equal ones is the likeliest.
  expect(top1Agreement).toBe(0.5);
  expect(perplexity).toBeCloseTo(Math.sqrt(1 / (0.75 * 0.25)), 5);
  // Changes of ln(0.5 / 0.75) and 0: their half difference.
  expect(lossChangeError).toBeCloseTo(Math.log(1.5) / 2, 5);
  expect(basePerplexity).toBeCloseTo(Math.sqrt(1 / (0.5 * 0.25)), 5);
});

test("base logits are kept exactly, in a file that nobody else can see", () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("warmset-logits-"));
  using base = new BaseLogits(3);
  const rows = [Float32Array.of(1, -2, 3.3), Float32Array.of(Number.NEGATIVE_INFINITY, 0, 1e-30)];
  for (const row of rows) base.append(row);
  expect(base.rows).toBe(2);
  for (const index of [1, 0, 1]) expect(base.row(index).slice()).toEqual(rows[index]);
  expect(() => base.row(2)).toThrow(/no row 2/);
  expect(() => base.append(new Float32Array(4))).toThrow(/3 logits, not 4/);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith("warmset-logits-"))).toEqual(before);
});
