import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import koffi from "koffi";
import { afterAll, describe, expect, test } from "vitest";
import { GgmlType, type GgufTensor, openGguf, readTensor, writeGguf } from "../gguf/index.ts";
import { embeddingTable, openEmbeddingTable } from "./embedding-table.ts";
import { loadLibraries } from "./index.ts";
import { dequantize, quantize } from "./quantize.ts";

const WIDTH = 512;
const TOKENS = 20;
const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-embeddings-"));
afterAll(() => rmSync(folder, { recursive: true }));
const libraries = loadLibraries();
const values = Float32Array.from({ length: WIDTH * TOKENS }, (_, i) => Math.sin(i * 1.7) / 8);

async function writeTable(type: GgmlType, bytes: Uint8Array, name = "token_embd.weight") {
  const file = path.join(folder, `${type}-${name}.gguf`);
  const before = { name: "other", type: GgmlType.F32, shape: [3], data: () => [new Uint8Array(12)] };
  const table = { name, type, shape: [WIDTH, TOKENS], data: () => [bytes] };
  await writeGguf(file, { metadata: [], tensors: [before, table] });
  return openGguf(file);
}

const FLOATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"] as const;

describe.each(FLOATS)("a table of %s", (name) => {
  const type = GgmlType[name];

  test("gives the rows that ggml makes of it, from a file and from memory", async () => {
    const bytes = quantize(libraries, type, values, WIDTH);
    const gguf = await writeTable(type, bytes);
    const tensor = gguf.tensor("token_embd.weight") as GgufTensor;
    const memory = koffi.alloc("uint8_t", tensor.bytes) as bigint;
    new Uint8Array(koffi.view(memory, tensor.bytes) as ArrayBuffer).set(readTensor(gguf, tensor));
    const tokens = Int32Array.of(7, 0, TOKENS - 1, 7, -1, TOKENS);
    const all = dequantize(libraries, type, bytes, values.length);
    const expected = new Float32Array(tokens.length * WIDTH);
    for (const [i, token] of tokens.slice(0, 4).entries())
      expected.set(all.subarray(token * WIDTH, (token + 1) * WIDTH), i * WIDTH);
    using file = openEmbeddingTable(libraries, gguf);
    for (const source of [file, embeddingTable(libraries, gguf, () => Number(memory))]) {
      const rows = new Float32Array(tokens.length * WIDTH).fill(9);
      source?.rows(tokens, rows);
      expect(source?.width).toBe(WIDTH);
      expect(rows).toEqual(expected);
    }
    koffi.free(memory);
  });
});

test("a file without a table, or with one of whole numbers, has no rows", async () => {
  const numbers = await writeTable(GgmlType.I32, new Uint8Array(values.length * 4));
  const none = await writeTable(GgmlType.F32, new Uint8Array(values.length * 4), "output.weight");
  for (const gguf of [numbers, none]) {
    expect(openEmbeddingTable(libraries, gguf)).toBeUndefined();
    expect(embeddingTable(libraries, gguf, () => 0)).toBeUndefined();
  }
});
