/**
 * Fuzzing of the reader with mutated real headers. Whatever the bytes: the file opens with every tensor inside it, or a
 * GgufError says why not; and libggml, asked about the same bytes, does not contradict.
 */
import fs from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder, writeSparse } from "./header-bytes.test-data.ts";
import {
  copyMetadata,
  GgufError,
  type GgufFile,
  openGguf,
  readMoeLayout,
  UnsupportedModelError,
  writeGguf,
} from "./index.ts";
import { libggml } from "./libggml.test-data.ts";

const MODEL = "models/demo-moe-q8_0.gguf";
const folder = temporaryFolder();
afterAll(folder.remove);

/** A header to mutate: its bytes, and how long the file is that it belongs to. */
interface Specimen {
  readonly header: Buffer;
  readonly fileBytes: number;
}
let real: Specimen;
/** The same without the tokenizer and with two layers' tensors: 3 kB, so that mutations hit structure. */
let small: Specimen;

beforeAll(async () => {
  const gguf = openGguf(MODEL);
  const path = folder.file("small.gguf");
  await writeGguf(path, {
    metadata: [
      ...copyMetadata(gguf, { without: gguf.metadata.keys().filter((key) => key.startsWith("tokenizer.")) }),
      { key: "list", type: "u16[]", value: [1, 2, 3] },
      { key: "words", type: "string[]", value: ["a", "bc", ""] },
    ],
    tensors: gguf.tensors
      .filter(({ name }) => /^blk\.[01]\./.test(name))
      .map(({ name, type, shape, bytes }) => ({ name, type, shape, data: new Uint8Array(bytes) })),
  });
  real = specimen(MODEL, gguf);
  small = specimen(path, openGguf(path));
});

function specimen(path: string, gguf: GgufFile): Specimen {
  const header = Buffer.alloc(gguf.shards[0].dataOffset);
  const fd = fs.openSync(path, "r");
  fs.readSync(fd, header, 0, header.length, 0);
  fs.closeSync(fd);
  return { header, fileBytes: gguf.fileBytes };
}

/** Numbers at which parsers break. */
const NASTY = [
  0n,
  1n,
  7n,
  8n,
  9n,
  13n,
  31n,
  33n,
  64n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n,
  2n ** 64n - 1n,
];

type Mutation = (header: Buffer) => Buffer;

/** A place in the header from 0 to 1, uniform: fast-check's bias to small numbers would hit the magic in most runs. */
const at = fc.noBias(fc.nat(2 ** 24 - 1)).map((n) => n / 2 ** 24);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(at, fc.nat(255)).map(
    ([where, byte]): Mutation =>
      (header) => {
        const changed = Buffer.from(header);
        changed[Math.floor(where * header.length)] = byte;
        return changed;
      },
  ),
  fc.tuple(at, fc.constantFrom(...NASTY), fc.boolean()).map(
    ([where, value, wide]): Mutation =>
      (header) => {
        const changed = Buffer.from(header);
        const position = Math.floor(where * (header.length - 8));
        if (wide) changed.writeBigUInt64LE(value, position);
        else changed.writeUInt32LE(Number(value & 0xffffffffn), position);
        return changed;
      },
  ),
  // The counts of tensors and entries, which a random position rarely hits.
  fc.tuple(fc.constantFrom(8, 16), fc.oneof(fc.constantFrom(...NASTY), fc.bigInt(0n, 200n))).map(
    ([position, value]): Mutation =>
      (header) => {
        const changed = Buffer.from(header);
        changed.writeBigUInt64LE(value, position);
        return changed;
      },
  ),
  // Cut out, or repeat, up to 100 bytes: lengths and names that no longer fit their neighbours.
  fc.tuple(at, fc.integer({ min: 1, max: 100 }), fc.boolean()).map(
    ([where, length, repeat]): Mutation =>
      (header) => {
        const position = Math.floor(where * header.length);
        const end = Math.min(position + length, header.length);
        return Buffer.concat([header.subarray(0, repeat ? end : position), header.subarray(repeat ? position : end)]);
      },
  ),
);

/** What may be refused here and taken by libggml: limits of ours, and sizes that its loader checks later. */
const STRICTER = new Set(["tensor-outside-file", "bad-name", "too-large"]);

function check(path: string): void {
  const started = performance.now();
  let gguf: GgufFile | undefined;
  let reason: string | undefined;
  try {
    gguf = openGguf(path);
  } catch (error) {
    if (!(error instanceof GgufError)) throw error;
    reason = error.reason;
  }
  expect(performance.now() - started).toBeLessThan(1000);
  const native = libggml?.read(path);
  if (gguf === undefined) {
    if (!STRICTER.has(reason!)) expect(native, reason).toBeUndefined();
    return;
  }
  for (const { offset, bytes, shard } of gguf.tensors) {
    expect(offset).toBeGreaterThanOrEqual(gguf.shards[shard].dataOffset);
    expect(offset + bytes).toBeLessThanOrEqual(gguf.shards[shard].fileBytes);
  }
  if (libggml)
    expect(gguf.tensors.map(({ name, type, offset, bytes }) => ({ name, type, offset, bytes }))).toEqual(
      native?.tensors,
    );
  useEverything(gguf);
}

/** Reads all metadata and the layout: whatever the mutation made of them, the errors are ours. */
function useEverything(gguf: GgufFile): void {
  const { metadata } = gguf;
  for (const key of metadata.keys()) {
    const { type, count } = metadata.locate(key)!;
    if (type === "string[]") expect(metadata.strings(key)).toHaveLength(count);
    else if (type === "bool[]") expect(metadata.bools(key)).toHaveLength(count);
    else if (type.endsWith("[]")) tolerate(() => metadata.numbers(key));
    else if (type === "string") expect(typeof metadata.string(key)).toBe("string");
  }
  tolerate(() => readMoeLayout(gguf));
}

function tolerate(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof GgufError || error instanceof UnsupportedModelError)) throw error;
  }
}

function fuzz(specimenOf: () => Specimen, runs: number): void {
  const path = folder.file("fuzzed.gguf");
  fc.assert(
    fc.property(
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      at,
      fc.integer({ min: 0, max: 9 }),
      (mutations, cut, dice) => {
        const { header, fileBytes } = specimenOf();
        const mutated = mutations.reduce((bytes, mutate) => mutate(bytes), header);
        // One file in ten is cut as well, anywhere in the header.
        if (dice === 0) fs.writeFileSync(path, mutated.subarray(0, Math.floor(cut * mutated.length)));
        else writeSparse(path, mutated, Math.max(mutated.length, fileBytes));
        check(path);
      },
    ),
    { numRuns: runs },
  );
}

describe("mutated headers open with all tensors inside the file, or fail with a GgufError", () => {
  test("a small model's header", () => {
    fuzz(() => small, 1500);
  });

  test("the demo model's header", () => {
    fuzz(() => real, 150);
  });

  test("unchanged they open (so that the runs above mean something)", () => {
    for (const { header, fileBytes } of [small, real]) {
      const path = folder.file("fuzzed.gguf");
      writeSparse(path, header, fileBytes);
      expect(readMoeLayout(openGguf(path)).expertsPerLayer).toBe(32);
    }
  });
});
