import { describe, expect, test } from "vitest";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { DEMO_MODEL } from "../llama/demo-model.test-data.ts";
import { captureBatches, captureReadBytes } from "./capture-batches.ts";

const gguf = openGguf(DEMO_MODEL);
const layout = readMoeLayout(gguf);
const text = { longest: 256, documents: 10 };
const budget = (bytes: number) => ({ memory: { kind: "process", bytes } as const, microBatchTokens: undefined });

describe("batches of a capture", () => {
  test("a resident model computes document by document", () => {
    for (const memory of [{ kind: "all" } as const, { kind: "process", bytes: 2 ** 40 } as const]) {
      const batches = captureBatches({ memory, microBatchTokens: undefined }, gguf, layout, text);
      expect(batches).toEqual({ rows: 256, sideBySide: 1, streams: false });
      expect(captureReadBytes(batches, layout, text)).toBe(layout.denseBytes + layout.expertBytesTotal);
    }
  });

  test("one that streams computes whole documents side by side, as many as a part of the budget holds", () => {
    const large = { ...gguf, fileBytes: 2 ** 40 };
    const wide = captureBatches(budget(2 ** 34), large, layout, text);
    expect(wide).toEqual({ rows: 1024, sideBySide: 4, streams: true });
    expect(captureReadBytes(wide, layout, text)).toBe(layout.denseBytes + 3 * layout.expertBytesTotal);
    const narrow = captureBatches(budget(2 ** 20), large, layout, text);
    expect(narrow).toEqual({ rows: 256, sideBySide: 1, streams: true });
    expect(captureReadBytes(narrow, layout, text)).toBe(layout.denseBytes + 10 * layout.expertBytesTotal);
    const few = captureBatches(budget(2 ** 34), large, layout, { longest: 100, documents: 2 });
    expect(few).toEqual({ rows: 200, sideBySide: 2, streams: true });
    const long = captureBatches(budget(2 ** 34), large, layout, { longest: 700, documents: 10 });
    expect(long).toEqual({ rows: 700, sideBySide: 1, streams: true });
  });

  test("long documents and a given size are cut into batches of it", () => {
    const settings = { memory: { kind: "experts", bytes: 1 } as const, microBatchTokens: 100 };
    const batches = captureBatches(settings, gguf, layout, text);
    expect(batches).toEqual({ rows: 100, sideBySide: 1, streams: true });
    expect(captureReadBytes(batches, layout, text)).toBe(layout.denseBytes + 30 * layout.expertBytesTotal);
  });
});
