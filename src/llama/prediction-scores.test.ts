import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { loadLibraries } from "./index.ts";
import { LogitsNotFiniteError, PredictionScorer } from "./prediction-scores.ts";

const BYTES = 2 ** 22;
const address = reserveMemory(BYTES);
const memory = new Float32Array(viewMemory(address, BYTES));
afterAll(() => releaseMemory(address, BYTES));

/** What the definition says, in double precision. */
function expected(row: ArrayLike<number>, next: number): { predicted: number; loss: number } {
  const values = Array.from(row);
  const most = Math.max(...values);
  const logSum = most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return { predicted: values.indexOf(most), loss: next < 0 ? Number.NaN : logSum - values[next] };
}

function score(columns: number, rows: readonly (readonly number[])[], next: readonly number[]) {
  memory.set(rows.flat());
  const predicted = new Int32Array(rows.length);
  const loss = new Float32Array(rows.length);
  using scorer = new PredictionScorer(loadLibraries(), columns);
  scorer.score(address, Int32Array.from(next), predicted, loss);
  return { predicted, loss };
}

describe("scores of predictions", () => {
  test("are those of the definition, whatever the logits", () => {
    const logit = fc.oneof(
      fc.float({ min: -30, max: 30, noNaN: true }),
      fc.float({ min: -1000, max: 1000, noNaN: true }),
    );
    const shape = fc.record({ columns: fc.integer({ min: 1, max: 70 }), rows: fc.integer({ min: 1, max: 9 }) });
    const cases = shape.chain(({ columns, rows }) =>
      fc.record({
        rows: fc.array(fc.array(logit, { minLength: columns, maxLength: columns }), {
          minLength: rows,
          maxLength: rows,
        }),
        next: fc.array(fc.integer({ min: -1, max: columns - 1 }), { minLength: rows, maxLength: rows }),
      }),
    );
    fc.assert(
      fc.property(cases, ({ rows, next }) => {
        const { predicted, loss } = score(rows[0].length, rows, next);
        for (const [i, row] of rows.entries()) {
          const right = expected(Float32Array.from(row), next[i]);
          expect(predicted[i]).toBe(right.predicted);
          if (next[i] < 0) expect(loss[i]).toBeNaN();
          else expect(Math.abs(loss[i] - right.loss)).toBeLessThan(2e-6 * Math.max(1, right.loss));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("are the same for many rows at once, in full runs and a rest", () => {
    const columns = 4096;
    // 8 rows fill one run; seven are left over.
    const rows = Array.from({ length: 135 }, (_, r) =>
      Array.from({ length: columns }, (_, i) => Math.fround(Math.sin(r * 31 + i * 7) * 12)),
    );
    const next = rows.map((_, r) => (r * 997) % columns);
    const { predicted, loss } = score(columns, rows, next);
    for (const [r, row] of rows.entries()) {
      const right = expected(row, next[r]);
      expect(predicted[r]).toBe(right.predicted);
      expect(Math.abs(loss[r] - right.loss)).toBeLessThan(1e-5);
    }
  });

  test("need a model whose output is a number", () => {
    expect(() => score(3, [[1, Number.NaN, 2]], [0])).toThrow(LogitsNotFiniteError);
    expect(() => score(2, [[Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]], [0])).toThrow(LogitsNotFiniteError);
  });
});
