import fs from "node:fs";
import nodePath from "node:path";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { temporaryFolder } from "./header-bytes.test-data.ts";
import {
  copyMetadata,
  copyTensor,
  GgmlType,
  type GgufContent,
  type GgufError,
  type GgufFile,
  ggmlTypeTraits,
  type MetadataEntry,
  openGguf,
  readTensor,
  streamTensor,
  type TensorSource,
  tensorSize,
  writeGguf,
} from "./index.ts";
import { libggml } from "./libggml.test-data.ts";

const MODEL = "models/demo-moe-q8_0.gguf";
const folder = temporaryFolder();
afterAll(folder.remove);
beforeEach(() => {
  for (const name of fs.readdirSync(folder.file("."))) fs.rmSync(folder.file(name));
});

const key = fc
  .string({ minLength: 1, maxLength: 30, unit: "grapheme" })
  .filter((text) => !/\0|^general.alignment$/.test(text));
const text = fc.string({ maxLength: 2000, unit: "grapheme" });
const entry: fc.Arbitrary<MetadataEntry> = fc.oneof(
  ...(
    [
      ["u8", 0, 255],
      ["i8", -128, 127],
      ["u16", 0, 65_535],
      ["i16", -32_768, 32_767],
      ["u32", 0, 2 ** 32 - 1],
      ["i32", -(2 ** 31), 2 ** 31 - 1],
    ] as const
  ).flatMap(([type, min, max]) => [
    fc.record({ key, type: fc.constant(type), value: fc.integer({ min, max }) }),
    fc.record({
      key,
      type: fc.constant(`${type}[]` as const),
      value: fc.array(fc.integer({ min, max }), { maxLength: 50 }),
    }),
  ]),
  fc.record({ key, type: fc.constant("f32" as const), value: fc.float() }),
  fc.record({ key, type: fc.constant("f64" as const), value: fc.double() }),
  fc.record({ key, type: fc.constant("f64[]" as const), value: fc.array(fc.double()) }),
  fc.record({ key, type: fc.constant("bool" as const), value: fc.boolean() }),
  fc.record({ key, type: fc.constant("bool[]" as const), value: fc.array(fc.boolean()) }),
  fc.record({ key, type: fc.constant("string" as const), value: text }),
  fc.record({ key, type: fc.constant("string[]" as const), value: fc.array(text, { maxLength: 20 }) }),
  fc.record({ key, type: fc.constant("u64" as const), value: fc.bigInt(0n, 2n ** 64n - 1n) }),
  fc.record({ key, type: fc.constant("i64" as const), value: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n) }),
);

const tensorSource: fc.Arbitrary<TensorSource> = fc
  .record({
    name: fc.string({ minLength: 1, maxLength: 15, unit: "grapheme-ascii" }),
    type: fc.constantFrom(...Object.values(GgmlType)),
    blocks: fc.nat(3),
    rest: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.nat(255),
    pieceBytes: fc.option(fc.integer({ min: 1, max: 300 })),
  })
  .map(({ name, type, blocks, rest, seed, pieceBytes }) => {
    const shape = [blocks * ggmlTypeTraits(type).blockElements, ...rest];
    const size = tensorSize(type, shape);
    if ("problem" in size) throw new Error(size.problem);
    const data = Uint8Array.from({ length: size.bytes }, (_, i) => seed + i);
    return { name, type, shape, data: pieceBytes === null ? data : () => inPieces(data, pieceBytes) };
  });

function* inPieces(data: Uint8Array, pieceBytes: number) {
  // One buffer for all pieces: the writer must not keep it.
  const piece = new Uint8Array(pieceBytes);
  for (let done = 0; done < data.length; done += pieceBytes) {
    const part = data.subarray(done, done + pieceBytes);
    piece.set(part);
    yield piece.subarray(0, part.length);
  }
}

const content: fc.Arbitrary<GgufContent> = fc.record({
  metadata: fc.uniqueArray(entry, { selector: (e) => e.key, maxLength: 12 }),
  tensors: fc.uniqueArray(tensorSource, { selector: (t) => t.name, maxLength: 6 }),
  alignment: fc.constantFrom(1, 8, 32, 64, 4096),
  version: fc.constantFrom(2, 3),
});

describe("round trips", () => {
  test("what is written is read back, by us and by libggml", async () => {
    await fc.assert(
      fc.asyncProperty(content, async (written) => {
        const path = folder.file("round.gguf");
        await writeGguf(path, written);
        const gguf = openGguf(path);
        expect(gguf).toMatchObject({ version: written.version, alignment: written.alignment });
        expectMetadata(gguf, written.metadata);
        expect(gguf.tensors.map(({ name, type, shape }) => ({ name, type, shape }))).toEqual(
          written.tensors.map(({ name, type, shape }) => ({ name, type, shape })),
        );
        for (const { name, data } of written.tensors) {
          const tensor = gguf.tensor(name)!;
          expect((tensor.offset - gguf.shards[0].dataOffset) % gguf.alignment).toBe(0);
          const expected =
            data instanceof Uint8Array ? data : Buffer.concat(Array.from(data(), (piece) => Buffer.from(piece)));
          expect(Buffer.compare(readTensor(gguf, tensor), expected)).toBe(0);
        }
        if (libggml)
          expect(libggml.read(path)?.tensors).toEqual(
            gguf.tensors.map(({ name, type, offset, bytes }) => ({ name, type, offset, bytes })),
          );
      }),
      { numRuns: 150 },
    );
  });

  test("a copy of the demo model is the demo model, byte by byte", async () => {
    const gguf = openGguf(MODEL);
    const path = folder.file("copy.gguf");
    await writeGguf(path, {
      metadata: copyMetadata(gguf),
      tensors: gguf.tensors.map((tensor) => copyTensor(gguf, tensor)),
    });
    expect(fs.readFileSync(path).equals(fs.readFileSync(MODEL))).toBe(true);
  });

  test("copied metadata can leave keys out and be extended", async () => {
    const gguf = openGguf(MODEL);
    const path = folder.file("derived.gguf");
    const metadata: MetadataEntry[] = [
      ...copyMetadata(gguf, { without: ["general.name"] }),
      { key: "general.name", type: "string", value: "another" },
    ];
    await writeGguf(path, { metadata, tensors: [], alignment: 64 });
    // A derived file is derived from once more, so that its alignment key is met.
    const derived = openGguf(path);
    await writeGguf(folder.file("again.gguf"), { metadata: copyMetadata(derived), tensors: [] });
    const again = openGguf(folder.file("again.gguf"));
    expect(again.alignment).toBe(32);
    expect(again.metadata.string("general.name")).toBe("another");
    expect(again.metadata.strings("tokenizer.ggml.merges")).toEqual(gguf.metadata.strings("tokenizer.ggml.merges"));
  });

  test("a model may replace the file that it is copied from", async () => {
    const path = folder.file("self.gguf");
    fs.copyFileSync(MODEL, path);
    const gguf = openGguf(path);
    await writeGguf(path, {
      metadata: copyMetadata(gguf),
      tensors: gguf.tensors.map((tensor) => copyTensor(gguf, tensor)),
    });
    expect(fs.readFileSync(path).equals(fs.readFileSync(MODEL))).toBe(true);
  });

  test("a tensor can be read in pieces and in part", () => {
    const gguf = openGguf(MODEL);
    const tensor = gguf.tensor("token_embd.weight")!;
    const whole = readTensor(gguf, tensor);
    expect(whole.length).toBe(tensor.bytes);
    expect(Buffer.concat([...streamTensor(gguf, tensor)]).equals(whole)).toBe(true);
    expect(Buffer.compare(readTensor(gguf, tensor, { offset: 100, bytes: 7 }), whole.subarray(100, 107))).toBe(0);
    expect(() => readTensor(gguf, tensor, { offset: 100, bytes: tensor.bytes })).toThrow(
      /were asked of token_embd.weight/,
    );
    expect(() => readTensor(gguf, tensor, { offset: Number.NaN })).toThrow(/were asked of/);
  });
});

describe("writing", () => {
  const file = (data: TensorSource["data"], bytes: number): GgufContent => ({
    metadata: [],
    tensors: [{ name: "t", type: GgmlType.I8, shape: [bytes], data }],
  });

  test("large tensors pass through in bounded memory, with progress", async () => {
    const piece = new Uint8Array(1_000_000).fill(7);
    let largestRss = 0;
    let last = { writtenBytes: 0, totalBytes: 0 };
    const before = process.memoryUsage.rss();
    await writeGguf(
      folder.file("large.gguf"),
      file(function* () {
        for (let i = 0; i < 150; i++) yield piece;
      }, 150_000_000),
      {
        onProgress: (progress) => {
          expect(progress.writtenBytes).toBeGreaterThan(last.writtenBytes);
          last = progress;
          largestRss = Math.max(largestRss, process.memoryUsage.rss());
        },
      },
    );
    expect(last).toEqual({ writtenBytes: 150_000_000, totalBytes: 150_000_000 });
    expect(largestRss - before).toBeLessThan(60_000_000);
    expect(openGguf(folder.file("large.gguf")).tensors[0].bytes).toBe(150_000_000);
  });

  test("an abort stops it, leaves nothing behind and keeps the old file", async () => {
    const path = folder.file("kept.gguf");
    fs.writeFileSync(path, "old");
    const abort = new AbortController();
    let closed = false;
    const writing = writeGguf(
      path,
      file(function* () {
        try {
          for (;;) yield new Uint8Array(100_000);
        } finally {
          closed = true;
        }
      }, 2 ** 40),
      { signal: abort.signal },
    );
    setTimeout(() => abort.abort(new Error("enough")), 20);
    await expect(writing).rejects.toThrow("enough");
    expect(closed).toBe(true);
    expect(fs.readdirSync(nodePath.dirname(path))).toEqual(["kept.gguf"]);
    expect(fs.readFileSync(path, "utf8")).toBe("old");
  });

  test("an error of the data's source comes through and leaves nothing behind", async () => {
    const failing = file(function* () {
      yield new Uint8Array(10);
      throw new Error("the source failed");
    }, 100);
    await expect(writeGguf(folder.file("failing.gguf"), failing)).rejects.toThrow("the source failed");
    expect(fs.readdirSync(folder.file("."))).toEqual([]);
  });

  test("a folder that does not exist is named", async () => {
    expect(await reasonOf(folder.file("nowhere/x.gguf"), file(new Uint8Array(1), 1))).toBe("unwritable");
  });

  const refused: readonly [what: string, reason: string, GgufContent][] = [
    ["too little data", "bad-value", file(new Uint8Array(9), 10)],
    ["too much data", "bad-value", file(new Uint8Array(11), 10)],
    ["too much data in pieces", "bad-value", file(() => [new Uint8Array(6), new Uint8Array(6)], 10)],
    ["256 as u8", "bad-value", { metadata: [{ key: "k", type: "u8", value: 256 }], tensors: [] }],
    ["-1 as u64", "bad-value", { metadata: [{ key: "k", type: "u64", value: -1 }], tensors: [] }],
    ["1.5 as i32", "bad-value", { metadata: [{ key: "k", type: "i32[]", value: [1, 1.5] }], tensors: [] }],
    ["1e300 as f32", "bad-value", { metadata: [{ key: "k", type: "f32", value: 1e300 }], tensors: [] }],
    ["NaN as u64", "bad-value", { metadata: [{ key: "k", type: "u64", value: Number.NaN }], tensors: [] }],
    ["an empty key", "bad-name", { metadata: [{ key: "", type: "u8", value: 1 }], tensors: [] }],
    ["a key with NUL", "bad-name", { metadata: [{ key: "a\0", type: "u8", value: 1 }], tensors: [] }],
    ["a key that is not well-formed", "bad-name", { metadata: [{ key: "\ud800", type: "u8", value: 1 }], tensors: [] }],
    [
      "a key twice",
      "duplicate-key",
      { metadata: [1, 2].map((value) => ({ key: "k", type: "u8", value })), tensors: [] },
    ],
    [
      "the alignment as a key",
      "bad-alignment",
      { metadata: [{ key: "general.alignment", type: "u32", value: 64 }], tensors: [] },
    ],
    ["an alignment of 48", "bad-alignment", { metadata: [], tensors: [], alignment: 48 }],
    [
      "a long tensor name",
      "bad-name",
      { metadata: [], tensors: [{ name: "n".repeat(64), type: 24, shape: [], data: new Uint8Array(1) }] },
    ],
    [
      "a tensor twice",
      "duplicate-tensor",
      { metadata: [], tensors: [...file(new Uint8Array(1), 1).tensors, ...file(new Uint8Array(1), 1).tensors] },
    ],
    [
      "five dimensions",
      "bad-shape",
      { metadata: [], tensors: [{ name: "t", type: 24, shape: [1, 1, 1, 1, 1], data: new Uint8Array(1) }] },
    ],
    [
      "half a block",
      "bad-shape",
      { metadata: [], tensors: [{ name: "t", type: GgmlType.Q8_0, shape: [16], data: new Uint8Array(17) }] },
    ],
    [
      "half an element",
      "bad-shape",
      { metadata: [], tensors: [{ name: "t", type: 24, shape: [0.5], data: new Uint8Array(1) }] },
    ],
  ];

  test.each(refused)("%s is refused and nothing is left: %s", async (_what, reason, wrong) => {
    expect(await reasonOf(folder.file("wrong.gguf"), wrong)).toBe(reason);
    expect(fs.readdirSync(folder.file("."))).toEqual([]);
  });
});

async function reasonOf(path: string, wrong: GgufContent): Promise<string> {
  try {
    await writeGguf(path, wrong);
  } catch (error) {
    return (error as GgufError).reason;
  }
  throw new Error("nothing was refused");
}

function expectMetadata({ metadata }: GgufFile, written: readonly MetadataEntry[]): void {
  expect(metadata.keys().filter((key) => key !== "general.alignment")).toEqual(written.map(({ key }) => key));
  for (const entry of written) {
    if (entry.type === "copy") throw new Error("not in this test");
    const { key, type, value } = entry;
    expect(metadata.locate(key)!.type).toBe(type);
    if (type === "string") expect(metadata.string(key)).toBe(value);
    else if (type === "string[]") expect(metadata.strings(key)).toEqual(value);
    else if (type === "bool") expect(metadata.bool(key)).toBe(value);
    else if (type === "bool[]") expect(metadata.bools(key)).toEqual(value);
    else if (type === "u64" || type === "i64") expect(metadata.bigint(key)).toBe(value);
    else if (type.endsWith("[]")) expect(metadata.numbers(key)).toEqual(value);
    else expect(metadata.number(key)).toBe(value);
  }
}
