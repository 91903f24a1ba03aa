import { expect, test } from "vitest";
import { ValueMemory } from "./value-memory.ts";

test("pieces never overlap, whatever their sizes", () => {
  const memory = new ValueMemory();
  const sizes = Array.from({ length: 300 }, (_, i) => (i * 677) % 2600);
  const pieces = sizes.map((size, i) => memory.take(size).fill(i));
  for (const [i, piece] of pieces.entries()) {
    expect(piece.length).toBe(sizes[i]);
    expect(piece.every((byte) => byte === i % 256)).toBe(true);
  }
  expect(memory.take(8192).every((byte) => byte === 0)).toBe(true);
});
