import fs from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "./header-bytes.test-data.ts";
import { openGguf, readTensor, splitGguf } from "./index.ts";
import { libggml } from "./libggml.test-data.ts";

const MODEL = "models/demo-moe-q8_0.gguf";
const folder = temporaryFolder();
afterAll(folder.remove);

describe("splitting", () => {
  test("each shard has gguf-split's three keys, and the first has all others", async () => {
    const paths = await splitGguf(MODEL, folder.file("keys"), { maxTensorsPerShard: 50 });
    expect(paths).toHaveLength(2);
    const keys = openGguf(MODEL).metadata.keys();
    for (const [shard, path] of paths.entries()) {
      const alone = folder.file("alone.gguf");
      fs.copyFileSync(path, alone);
      const native = libggml?.read(alone);
      if (native) {
        expect(native.keys).toEqual([...(shard === 0 ? keys : []), "split.no", "split.count", "split.tensors.count"]);
        expect(native.tensors).toHaveLength(shard === 0 ? 50 : 49);
      }
    }
    const { metadata } = openGguf(paths[0]);
    expect(["split.no", "split.count", "split.tensors.count"].map((key) => metadata.locate(key)!.type)).toEqual([
      "u16",
      "u16",
      "i32",
    ]);
  });

  test("by size: no shard has more tensor bytes than asked for, unless one tensor has", async () => {
    const maxShardBytes = 1_500_000;
    const paths = await splitGguf(MODEL, folder.file("size"), { maxShardBytes });
    const set = openGguf(paths[0]);
    expect(set.shards.length).toBeGreaterThan(10);
    for (const [shard, { fileBytes, dataOffset }] of set.shards.entries()) {
      const tensors = set.tensors.filter((tensor) => tensor.shard === shard);
      expect(tensors.length).toBeGreaterThan(0);
      if (tensors.length > 1) expect(fileBytes - dataOffset).toBeLessThanOrEqual(maxShardBytes);
    }
  });

  test("tensor data is the same", async () => {
    const single = openGguf(MODEL);
    const [first] = await splitGguf(MODEL, folder.file("data"), { maxShardBytes: 4_000_000 });
    const set = openGguf(first);
    for (const tensor of single.tensors)
      expect(Buffer.compare(readTensor(single, tensor), readTensor(set, set.tensor(tensor.name)!)), tensor.name).toBe(
        0,
      );
  });

  test("a set can be split again, and its old split keys do not stay", async () => {
    const [first] = await splitGguf(MODEL, folder.file("once"), { maxTensorsPerShard: 20 });
    const [again] = await splitGguf(first, folder.file("twice"), { maxTensorsPerShard: 60 });
    expect(openGguf(again).shards).toHaveLength(2);
    expect(openGguf(again).tensors).toHaveLength(99);
  });

  test("an abort leaves no shard behind; progress counts over all shards", async () => {
    const abort = new AbortController();
    let sawBytes = 0;
    const splitting = splitGguf(
      MODEL,
      folder.file("aborted"),
      { maxTensorsPerShard: 10 },
      {
        signal: abort.signal,
        onProgress: ({ writtenBytes, totalBytes }) => {
          expect(writtenBytes).toBeGreaterThan(sawBytes);
          sawBytes = writtenBytes;
          if (writtenBytes > totalBytes / 2) abort.abort();
        },
      },
    );
    await expect(splitting).rejects.toThrow();
    expect(sawBytes).toBeGreaterThan(10_000_000);
    expect(fs.readdirSync(folder.file(".")).filter((name) => name.startsWith("aborted"))).toEqual([]);
  });
});
