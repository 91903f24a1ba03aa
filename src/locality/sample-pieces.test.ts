import { expect, test } from "vitest";
import { DECODE, PREFILL } from "../trace/trace.ts";
import { isChosen, samplePieces } from "./sample-pieces.ts";
import { madeSamples } from "./traces.test-data.ts";
import { vocabularyPiece } from "./vocabulary-piece.ts";

const [sample] = madeSamples({
  experts: 4,
  expertsUsed: 1,
  samples: [{ length: 10, route: (_, t) => [t % 4], tokens: (t) => 50 + t, phase: (t) => (t < 3 ? PREFILL : DECODE) }],
});
const ranges = (...args: Parameters<typeof samplePieces>) =>
  samplePieces(...args).map(({ begin, end, phase }) => [begin, end, phase]);

test("pieces end where the phase changes and where they are long enough", () => {
  expect(ranges(sample, 4, "apart")).toEqual([
    [0, 3, "prefill"],
    [3, 7, "decode"],
    [7, 10, "decode"],
  ]);
  expect(ranges(sample, 4, "decode")).toEqual([
    [3, 7, "decode"],
    [7, 10, "decode"],
  ]);
  expect(ranges(sample, 4, "all")).toEqual([
    [0, 4, "all"],
    [4, 8, "all"],
    [8, 10, "all"],
  ]);
});

test("the next token of a piece's last one is in the sample, until that ends", () => {
  const [, middle, last] = samplePieces(sample, 4, "apart").map((piece) =>
    vocabularyPiece(piece, { layers: 1, experts: 4, expertsUsed: 1 }),
  );
  expect(middle).toMatchObject({
    tokens: Int32Array.of(53, 54, 55, 56),
    next: Int32Array.of(54, 55, 56, 57),
    best: Uint16Array.of(3, 0, 1, 2),
    predicted: undefined,
  });
  expect(last?.next).toEqual(Int32Array.of(58, 59, -1));
});

test("one of n pieces is chosen, always the same", () => {
  const chosen = (every: number) =>
    Array.from({ length: 4000 }, (_, number) =>
      samplePieces({ ...sample, sample: number }, 10, "all").filter((piece) => isChosen(piece, every)),
    ).flat().length;
  expect(chosen(0)).toBe(0);
  expect(chosen(1)).toBe(4000);
  expect(chosen(4) / 1000).toBeCloseTo(1, 1);
  expect(chosen(16) / 250).toBeCloseTo(1, 0.5);
});
