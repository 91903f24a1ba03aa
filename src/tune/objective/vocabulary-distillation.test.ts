import fc from "fast-check";
import { expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { adaptTrustWeight } from "./trust-budget.ts";
import { vocabularyDistillation } from "./vocabulary-distillation.ts";

function logSoftmax(logits: Float64Array, temperature: number): Float64Array {
  const scaled = logits.map((logit) => logit / temperature);
  const sum = scaled.reduce((total, logit) => total + Math.exp(logit), 0);
  return scaled.map((logit) => logit - Math.log(sum));
}

test("with all tokens kept it is the KL divergence; its gradient is its slope, whatever is kept", () => {
  fc.assert(
    fc.property(fc.nat(), fc.constantFrom(1, 2), fc.constantFrom(1, 3, 8), (seed, temperature, kept) => {
      const random = new Randomness(seed);
      const make = () => Float64Array.from({ length: 8 }, () => random.normal());
      const [base, own] = [logSoftmax(make(), temperature), make()];
      const order = Int32Array.from(base, (_, i) => i).sort((a, b) => base[b] - base[a]);
      const tokens = order.subarray(0, kept);
      const top = { tokens, logProbabilities: Float32Array.from(tokens, (token) => base[token]) };
      const loss = (logits: Float64Array) => vocabularyDistillation(logits, top, temperature, 1, new Float64Array(8));
      const gradient = new Float64Array(8);
      const full = base.reduce((sum, p, i) => sum + Math.exp(p) * (p - logSoftmax(own, temperature)[i]), 0);
      const value = vocabularyDistillation(own, top, temperature, 1, gradient);
      if (kept === 8) expect(value).toBeCloseTo(temperature ** 2 * full, 5);
      else expect(value).toBeLessThanOrEqual(temperature ** 2 * full + 1e-6);
      for (let i = 0; i < 8; i++) {
        const moved = (by: number) => loss(own.with(i, own[i] + by));
        expect(gradient[i]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 5);
      }
    }),
  );
});

test("the trust term's weight follows the divergence", () => {
  expect([0.01, 0.02, 0.029, 0.031].map((kl) => adaptTrustWeight(3, kl, 0.02, 1.5))).toEqual([2, 3, 3, 4.5]);
});
