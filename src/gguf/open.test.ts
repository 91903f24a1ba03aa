import fs from "node:fs";
import nodePath from "node:path";
import { gguf as readWithHuggingFace } from "@huggingface/gguf";
import { afterAll, describe, expect, test } from "vitest";
import { HeaderBytes, temporaryFolder, thrownBy, writeSparse } from "./header-bytes.test-data.ts";
import { GgufError, type GgufErrorReason, openGguf, splitGguf, writeGguf } from "./index.ts";
import { libggml } from "./libggml.test-data.ts";

const MODEL = "models/demo-moe-q8_0.gguf";
const folder = temporaryFolder();
afterAll(folder.remove);

describe("the demo model", () => {
  test("is laid out as @huggingface/gguf reads it", async () => {
    const gguf = openGguf(MODEL);
    const other = await readWithHuggingFace(MODEL, { allowLocalFile: true });
    expect(gguf.shards[0].dataOffset).toBe(Number(other.tensorDataOffset));
    expect(
      gguf.tensors.map(({ name, type, shape, offset }) => ({
        name,
        type,
        shape,
        offset: offset - gguf.shards[0].dataOffset,
      })),
    ).toEqual(
      other.tensorInfos.map(({ name, dtype, shape, offset }) => ({
        name,
        type: dtype as number,
        shape: shape.map(Number),
        offset: Number(offset),
      })),
    );
  });

  test("has the metadata that @huggingface/gguf reads, arrays too", async () => {
    const { metadata } = openGguf(MODEL);
    const other = (await readWithHuggingFace(MODEL, { allowLocalFile: true })).metadata as Record<string, unknown>;
    for (const key of metadata.keys()) {
      const { type } = metadata.locate(key)!;
      const value =
        type === "string[]"
          ? metadata.strings(key)
          : type.endsWith("[]")
            ? metadata.numbers(key)
            : type === "string"
              ? metadata.string(key)
              : type === "bool"
                ? metadata.bool(key)
                : metadata.number(key);
      expect(value, key).toEqual(other[key]);
    }
  });

  test.skipIf(libggml === undefined)("is laid out as libggml reads it", () => {
    const gguf = openGguf(MODEL);
    const native = libggml!.read(MODEL)!;
    expect(gguf.shards[0].dataOffset).toBe(native.dataOffset);
    expect(gguf.alignment).toBe(native.alignment);
    expect(gguf.version).toBe(native.version);
    expect(gguf.metadata.keys()).toEqual(native.keys);
    expect(gguf.tensors.map(({ name, type, offset, bytes }) => ({ name, type, offset, bytes }))).toEqual(
      native.tensors,
    );
  });
});

describe("header reading", () => {
  test.skipIf(process.platform !== "linux")("reads the header and little more, whatever the file's size", () => {
    const path = folder.file("huge.gguf");
    const header = new HeaderBytes()
      .start(2, 0)
      .tensor("a", [2 ** 38], 24, 0)
      .tensor("b", [64], 24, 2 ** 38);
    writeSparse(path, header.bytes(), 2 ** 38 + 4096);
    const before = bytesReadByThisProcess();
    const gguf = openGguf(path);
    const read = bytesReadByThisProcess() - before;
    expect(gguf.tensor("b")!.offset).toBe(gguf.shards[0].dataOffset + 2 ** 38);
    // One chunk, and what reading /proc itself costs.
    expect(read).toBeLessThan(64 * 1024 + 16 * 1024);
  });

  test("skips a tokenizer's numeric arrays without reading them", () => {
    const path = folder.file("scores.gguf");
    const scores = 8 * 1024 * 1024;
    const header = new HeaderBytes()
      .start(0, 2)
      .text("scores")
      .u32(9)
      .u32(6)
      .u64(scores)
      .raw(Buffer.alloc(scores * 4));
    fs.writeFileSync(path, header.u32Entry("behind", 7).bytes());
    const before = bytesReadByThisProcess();
    expect(openGguf(path).metadata.number("behind")).toBe(7);
    if (process.platform === "linux") expect(bytesReadByThisProcess() - before).toBeLessThan(1024 * 1024);
  });

  test("a file without tensors has no padding behind its header", () => {
    const path = folder.file("none.gguf");
    const bytes = new HeaderBytes().start(0, 1).u32Entry("k", 1).bytes();
    fs.writeFileSync(path, bytes);
    expect(openGguf(path)).toMatchObject({ tensors: [], shards: [{ dataOffset: bytes.length }] });
    if (libggml) expect(libggml.read(path)!.dataOffset).toBe(bytes.length);
  });

  test("version 2 reads as version 3 does", async () => {
    const path = folder.file("v2.gguf");
    await writeGguf(path, { metadata: [{ key: "k", type: "u8", value: 9 }], tensors: [], version: 2 });
    expect(openGguf(path)).toMatchObject({ version: 2 });
    expect(openGguf(path).metadata.number("k")).toBe(9);
  });
});

describe("split sets", () => {
  test("open alike by any shard, and as the single file", async () => {
    const single = openGguf(MODEL);
    const paths = await splitGguf(MODEL, folder.file("any"), { maxTensorsPerShard: 40 });
    expect(paths.map((path) => nodePath.basename(path))).toEqual([
      "any-00001-of-00003.gguf",
      "any-00002-of-00003.gguf",
      "any-00003-of-00003.gguf",
    ]);
    for (const path of paths) {
      const set = openGguf(path);
      expect(set.path).toBe(path);
      expect(set.shards.map((shard) => shard.path)).toEqual(paths);
      expect(set.metadata.strings("tokenizer.ggml.tokens")).toEqual(single.metadata.strings("tokenizer.ggml.tokens"));
      expect(set.tensors.map(({ name, type, shape, bytes }) => ({ name, type, shape, bytes }))).toEqual(
        single.tensors.map(({ name, type, shape, bytes }) => ({ name, type, shape, bytes })),
      );
      expect(set.fileBytes).toBe(paths.reduce((sum, shard) => sum + fs.statSync(shard).size, 0));
    }
  });

  test("missing shards are named", async () => {
    const paths = await splitGguf(MODEL, folder.file("missing"), { maxTensorsPerShard: 25 });
    fs.rmSync(paths[1]);
    fs.rmSync(paths[3]);
    const error = thrownBy(() => openGguf(paths[0])) as GgufError;
    expect(error.reason).toBe("missing-shard");
    expect(error.message).toContain("missing-00002-of-00004.gguf, missing-00004-of-00004.gguf");
  });

  test("shards that contradict each other are refused", async () => {
    const paths = await splitGguf(MODEL, folder.file("wrong"), { maxTensorsPerShard: 50 });
    const other = await splitGguf(MODEL, folder.file("other"), { maxTensorsPerShard: 30 });
    fs.copyFileSync(paths[0], folder.file("renamed.gguf"));
    expect(reasonOf(folder.file("renamed.gguf"))).toBe("bad-split");
    fs.copyFileSync(other[1], paths[1]);
    expect(reasonOf(paths[0])).toBe("bad-split");
    fs.copyFileSync(paths[0], paths[1]);
    expect(reasonOf(paths[0])).toBe("bad-split");
  });

  test("a tensor that is in two shards and a wrong tensor count are refused", async () => {
    const shard = (no: number, tensors: number, name: string) =>
      writeGguf(folder.file(`hand-0000${no + 1}-of-00002.gguf`), {
        metadata: [
          { key: "split.no", type: "u16", value: no },
          { key: "split.count", type: "u16", value: 2 },
          { key: "split.tensors.count", type: "i32", value: tensors },
        ],
        tensors: [{ name, type: 24, shape: [4], data: new Uint8Array(4) }],
      });
    const path = folder.file("hand-00002-of-00002.gguf");
    await shard(0, 2, "a");
    await shard(1, 2, "b");
    expect(openGguf(path).tensors.map(({ name, shard }) => [name, shard])).toEqual([
      ["a", 0],
      ["b", 1],
    ]);
    await shard(0, 3, "a");
    expect(reasonOf(path)).toBe("bad-split");
    await shard(0, 2, "b");
    expect(reasonOf(path)).toBe("duplicate-tensor");
  });
});

describe("hostile files", () => {
  const sound = () => new HeaderBytes().start(1, 0);
  const cases: readonly [what: string, reason: GgufErrorReason, header: HeaderBytes][] = [
    ["an empty file", "truncated", new HeaderBytes()],
    ["another format", "not-gguf", new HeaderBytes().raw("PK\x03\x04 and more of an archive's bytes")],
    ["a big-endian file", "big-endian", new HeaderBytes().raw("GGUF\0\0\0\x03").u64(0).u64(0)],
    ["version 0", "unsupported-version", new HeaderBytes().start(0, 0, 0)],
    ["version 1", "unsupported-version", new HeaderBytes().start(0, 0, 1)],
    ["a future version", "unsupported-version", new HeaderBytes().start(0, 0, 4)],
    ["2^63 tensors", "too-large", new HeaderBytes().start(2n ** 63n, 0)],
    ["2^64 - 1 entries", "too-large", new HeaderBytes().start(0, 2n ** 64n - 1n)],
    ["2^40 tensors", "too-large", new HeaderBytes().start(2 ** 40, 0)],
    ["more entries than bytes", "truncated", new HeaderBytes().start(0, 60_000).u32Entry("k", 1)],
    [
      "a key of 2^62 bytes",
      "too-large",
      new HeaderBytes()
        .start(0, 1)
        .u64(2n ** 62n)
        .raw("key and some more bytes"),
    ],
    [
      "a key of 2^40 bytes",
      "bad-name",
      new HeaderBytes()
        .start(0, 1)
        .u64(2 ** 40)
        .raw("key and some more bytes"),
    ],
    ["an empty key", "bad-name", new HeaderBytes().start(0, 1).u32Entry("", 1)],
    ["a key with NUL", "bad-name", new HeaderBytes().start(0, 1).u32Entry("a\0b", 1)],
    [
      "a key that is not UTF-8",
      "bad-name",
      new HeaderBytes().start(0, 1).u64(2).raw(Uint8Array.of(0xc3, 0x28)).u32(4).u32(1),
    ],
    ["a key twice", "duplicate-key", new HeaderBytes().start(0, 2).u32Entry("k", 1).u32Entry("k", 2)],
    ["value type 13", "bad-value-type", new HeaderBytes().start(0, 1).text("k").u32(13).u64(0)],
    ["an array of arrays", "nested-array", new HeaderBytes().start(0, 1).text("k").u32(9).u32(9).u64(1).u32(4).u64(0)],
    ["an array of unknown type", "bad-value-type", new HeaderBytes().start(0, 1).text("k").u32(9).u32(99).u64(0)],
    [
      "an array of 2^53 numbers",
      "too-large",
      new HeaderBytes()
        .start(0, 1)
        .text("k")
        .u32(9)
        .u32(4)
        .u64(2n ** 53n),
    ],
    [
      "an array of 2^50 numbers",
      "truncated",
      new HeaderBytes()
        .start(0, 1)
        .text("k")
        .u32(9)
        .u32(4)
        .u64(2 ** 50),
    ],
    [
      "an array of 2^50 strings",
      "truncated",
      new HeaderBytes()
        .start(0, 1)
        .text("k")
        .u32(9)
        .u32(8)
        .u64(2 ** 50),
    ],
    [
      "a string of 2^50 bytes",
      "truncated",
      new HeaderBytes()
        .start(0, 1)
        .text("k")
        .u32(8)
        .u64(2 ** 50),
    ],
    [
      "a string in an array that is too long",
      "truncated",
      new HeaderBytes().start(0, 1).text("k").u32(9).u32(8).u64(1).u64(100),
    ],
    ["alignment 0", "bad-alignment", new HeaderBytes().start(0, 1).u32Entry("general.alignment", 0)],
    ["alignment 48", "bad-alignment", new HeaderBytes().start(0, 1).u32Entry("general.alignment", 48)],
    ["alignment as text", "bad-alignment", new HeaderBytes().start(0, 1).stringEntry("general.alignment", "32")],
    ["5 dimensions", "bad-shape", sound().tensor("t", [1, 1, 1, 1, 1], 24, 0)],
    [
      "2^32 - 1 dimensions",
      "bad-shape",
      sound()
        .text("t")
        .u32(2 ** 32 - 1)
        .u64(0)
        .u64(0),
    ],
    ["a dimension of 2^63", "too-large", sound().tensor("t", [2n ** 63n], 24, 0)],
    ["dimensions whose product overflows", "too-large", sound().tensor("t", [2 ** 31, 2 ** 31, 3], 24, 0)],
    ["rows of half blocks", "bad-shape", sound().tensor("t", [48], 8, 0)],
    ["a removed tensor type", "bad-tensor-type", sound().tensor("t", [32], 31, 0)],
    ["tensor type 2^31", "bad-tensor-type", sound().tensor("t", [32], 2 ** 31, 0)],
    ["a tensor name of 64 bytes", "bad-name", sound().tensor("n".repeat(64), [1], 24, 0)],
    ["an offset of 2^64 - 1", "too-large", sound().tensor("t", [32], 24, 2n ** 64n - 1n)],
    ["a first tensor that is not first", "bad-tensor-offset", sound().tensor("t", [32], 24, 32)],
    ["a tensor behind the end", "tensor-outside-file", sound().tensor("t", [10_000], 24, 0)],
    [
      "a tensor twice",
      "duplicate-tensor",
      new HeaderBytes().start(2, 0).tensor("t", [32], 24, 0).tensor("t", [32], 24, 32),
    ],
    [
      "overlapping tensors",
      "bad-tensor-offset",
      new HeaderBytes().start(2, 0).tensor("a", [64], 24, 0).tensor("b", [32], 24, 32),
    ],
    [
      "tensors with a gap",
      "bad-tensor-offset",
      new HeaderBytes().start(2, 0).tensor("a", [32], 24, 0).tensor("b", [32], 24, 64),
    ],
    [
      "a misaligned tensor",
      "bad-tensor-offset",
      new HeaderBytes().start(2, 0).tensor("a", [33], 24, 0).tensor("b", [32], 24, 33),
    ],
  ];

  test.each(cases)("%s: %s", (_what, reason, header) => {
    const path = folder.file("hostile.gguf");
    const bytes = header.bytes();
    // Room for small tensors, so that each case fails for its own reason and not for the file's end.
    writeSparse(path, bytes, ["truncated", "not-gguf"].includes(reason) ? bytes.length : bytes.length + 256);
    const error = thrownBy(() => openGguf(path)) as GgufError;
    expect(error).toBeInstanceOf(GgufError);
    expect(error.reason).toBe(reason);
    expect(error.path).toBe(path);
    expect(error.message).toMatch(/[.?]$/);
    // The library looks at sizes and at the file's end later, when it loads, and takes some names that are traps.
    if (libggml && !["tensor-outside-file", "too-large", "bad-name"].includes(reason))
      expect(libggml.read(path)).toBeUndefined();
  });

  test("a product of dimensions that wraps around to 0 is refused", () => {
    // gguf.cpp of v0.5.0 takes 2^80 elements for an empty tensor, because its product of int64 wraps to 0.
    const path = folder.file("wraps.gguf");
    writeSparse(
      path,
      sound()
        .tensor("t", [2 ** 40, 2 ** 40], 24, 0)
        .bytes(),
      4096,
    );
    expect(reasonOf(path)).toBe("too-large");
  });

  test("a header that never ends is given up at the limit", () => {
    const path = folder.file("endless.gguf");
    const header = new HeaderBytes()
      .start(0, 1)
      .text("k")
      .u32(9)
      .u32(0)
      .u64(2 ** 40);
    writeSparse(path, header.bytes(), 2 ** 41);
    expect(reasonOf(path)).toBe("too-large");
  });

  test("a file cut anywhere is refused", () => {
    const whole = new HeaderBytes()
      .start(1, 3)
      .stringEntry("general.architecture", "x")
      .text("list")
      .u32(9)
      .u32(8)
      .u64(2)
      .text("a")
      .text("b")
      .u32Entry("n", 1)
      .tensor("t", [64], 24, 0);
    const path = folder.file("cut.gguf");
    const bytes = Buffer.concat([whole.bytes(), Buffer.alloc(256)]);
    fs.writeFileSync(path, bytes);
    const needed = openGguf(path).tensors[0].offset + 64;
    for (let length = 0; length < needed; length++) {
      fs.writeFileSync(path, bytes.subarray(0, length));
      expect(["truncated", "tensor-outside-file"], `cut at ${length}`).toContain(reasonOf(path));
    }
  });

  test("what is no file at all is named", () => {
    expect(reasonOf(folder.file("nowhere.gguf"))).toBe("missing-file");
    expect(reasonOf(folder.file(""))).toBe("not-a-file");
    expect(reasonOf("/dev/zero")).toBe("not-a-file");
    expect(reasonOf(`${MODEL}/below-a-file`)).toBe("unreadable");
  });
});

function reasonOf(path: string): GgufErrorReason {
  const error = thrownBy(() => openGguf(path));
  if (error instanceof GgufError) return error.reason;
  throw error;
}

/** What this process got from read calls, page cache or not (proc(5), rchar). */
function bytesReadByThisProcess(): number {
  return process.platform === "linux" ? Number(/rchar: (\d+)/.exec(fs.readFileSync("/proc/self/io", "utf8"))![1]) : 0;
}
