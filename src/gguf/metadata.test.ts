import fs from "node:fs";
import v8 from "node:v8";
import vm from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder, thrownBy } from "./header-bytes.test-data.ts";
import { type GgufError, type GgufMetadata, openGguf, writeGguf } from "./index.ts";

const folder = temporaryFolder();
afterAll(folder.remove);

const LONG_TEXT = "ä".repeat(5000);
let metadata: GgufMetadata;

beforeAll(async () => {
  const path = folder.file("values.gguf");
  await writeGguf(path, {
    metadata: [
      { key: "text", type: "string", value: "warm" },
      { key: "long", type: "string", value: LONG_TEXT },
      { key: "n", type: "u32", value: 7 },
      { key: "f", type: "f32", value: 0.5 },
      { key: "big", type: "u64", value: 2n ** 63n },
      { key: "u64", type: "u64", value: 12 },
      { key: "yes", type: "bool", value: true },
      { key: "words", type: "string[]", value: ["a", "", "ü"] },
      { key: "layers", type: "i32[]", value: [1, 2, 3] },
      { key: "flags", type: "bool[]", value: [true, false] },
      { key: "bigs", type: "i64[]", value: [-1n, 2n ** 62n] },
    ],
    tensors: [],
  });
  metadata = openGguf(path).metadata;
});

describe("metadata getters", () => {
  test("give values, small ones and ones that are read when asked for", () => {
    expect(metadata.string("text")).toBe("warm");
    expect(metadata.string("long")).toBe(LONG_TEXT);
    expect(metadata.number("n")).toBe(7);
    expect(metadata.number("f")).toBe(0.5);
    expect(metadata.number("u64")).toBe(12);
    expect(metadata.bigint("big")).toBe(2n ** 63n);
    expect(metadata.bigint("n")).toBe(7n);
    expect(metadata.bool("yes")).toBe(true);
    expect(metadata.strings("words")).toEqual(["a", "", "ü"]);
    expect(metadata.numbers("layers")).toEqual([1, 2, 3]);
    expect(metadata.bools("flags")).toEqual([true, false]);
  });

  test("give undefined for optional keys that are missing, and errors for wrong types even then", () => {
    expect(metadata.optionalString("none")).toBeUndefined();
    expect(metadata.optionalNumber("none")).toBeUndefined();
    expect(metadata.optionalBool("none")).toBeUndefined();
    expect(reasonOf(() => metadata.optionalNumber("text"))).toBe("wrong-type");
  });

  test("name the key and its type in errors", () => {
    const missing = thrownBy(() => metadata.number("qwen3moe.expert_count")) as GgufError;
    expect(missing.reason).toBe("missing-key");
    expect(missing.message).toContain("qwen3moe.expert_count");
    const wrong = thrownBy(() => metadata.string("n")) as GgufError;
    expect(wrong.reason).toBe("wrong-type");
    expect(wrong.message).toContain("n is u32, not a string");
  });

  test.each([
    ["a string as number", () => metadata.number("text")],
    ["an array as number", () => metadata.number("layers")],
    ["a number as boolean", () => metadata.bool("n")],
    ["a float as bigint", () => metadata.bigint("f")],
    ["2^63 as number", () => metadata.number("big")],
    ["2^62 in an array as number", () => metadata.numbers("bigs")],
    ["numbers as strings", () => metadata.strings("layers")],
    ["strings as numbers", () => metadata.numbers("words")],
    ["booleans as numbers", () => metadata.numbers("flags")],
    ["a scalar as array", () => metadata.numbers("n")],
  ])("%s is refused", (_what, act) => {
    expect(reasonOf(act)).toBe("wrong-type");
  });

  test("one number or one per layer", () => {
    expect(metadata.numberOrPerLayer("n", 3)).toEqual([7, 7, 7]);
    expect(metadata.numberOrPerLayer("layers", 3)).toEqual([1, 2, 3]);
    expect(reasonOf(() => metadata.numberOrPerLayer("layers", 4))).toBe("wrong-type");
    expect(reasonOf(() => metadata.numberOrPerLayer("words", 3))).toBe("wrong-type");
  });

  test("a file that changed since it was opened is noticed", async () => {
    const path = folder.file("changing.gguf");
    await writeGguf(path, { metadata: [{ key: "words", type: "string[]", value: ["one", "two"] }], tensors: [] });
    const opened = openGguf(path).metadata;
    const bytes = fs.readFileSync(path);
    bytes.writeBigUInt64LE(2n ** 40n, opened.locate("words")!.offset);
    fs.writeFileSync(path, bytes);
    expect(reasonOf(() => opened.strings("words"))).toBe("file-changed");
    fs.truncateSync(path, 40);
    expect(reasonOf(() => opened.strings("words"))).toBe("file-changed");
    fs.rmSync(path);
    expect(reasonOf(() => opened.strings("words"))).toBe("missing-file");
  });

  test("a tokenizer's strings are not decoded when a file is opened", async () => {
    const path = folder.file("tokens.gguf");
    const tokens = Array.from({ length: 150_000 }, (_, i) => `token ${i}`);
    await writeGguf(path, { metadata: [{ key: "tokens", type: "string[]", value: tokens }], tensors: [] });
    const before = keptHeapBytes();
    const opened = openGguf(path);
    // Kept as strings they cost 6 MB and more.
    expect(keptHeapBytes() - before).toBeLessThan(200_000);
    expect(opened.metadata.locate("tokens")).toMatchObject({ type: "string[]", count: 150_000, value: undefined });
    expect(opened.metadata.strings("tokens")).toEqual(tokens);
  });
});

/** Heap in use after a collection; the parse's own garbage does not count. */
function keptHeapBytes(): number {
  v8.setFlagsFromString("--expose-gc");
  vm.runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

function reasonOf(act: () => unknown): string {
  return (thrownBy(act) as GgufError).reason;
}
