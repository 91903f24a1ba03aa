import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ExpertMapStore } from "./expert-map-store.ts";
import { InlineSearch } from "./inline-search.ts";
import { MapStoreFileError, type MapStoreFileErrorReason } from "./map-store-file-error.ts";
import { randomEmbedding, randomMap, randomNumbers } from "./random-maps.test-data.ts";
import { loadStore, saveStore } from "./save-store.ts";
import { decodeStore, encodeStore } from "./store-bytes.ts";
import { MAP_ENCODINGS, type MapEncoding } from "./value-codes.ts";

const shape = { layers: 3, experts: 4, hiddenSize: 5 };
const expected = { shape, normaliser: "softmax", modelHash: "abc" };

function filled(encoding: MapEncoding = "f32", rows = 6, frozen = false): ExpertMapStore {
  const random = randomNumbers(1);
  const store = new ExpertMapStore({ shape, capacity: 10, prefetchDistance: 2, encoding, modelHash: "abc" });
  for (let i = 0; i < rows; i++) store.insert(randomEmbedding(shape, random), randomMap(shape, random), i);
  return frozen ? decodeStore(encodeStore(store), { ...expected, frozen }) : store;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-maps-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function reasonOf(act: () => unknown): MapStoreFileErrorReason | "no error" {
  try {
    act();
    return "no error";
  } catch (error) {
    if (!(error instanceof MapStoreFileError)) throw error;
    return error.reason;
  }
}

/** The same bytes with a right checksum: what a hostile file has. */
function sealed(bytes: Uint8Array): Buffer {
  const body = Buffer.from(bytes.subarray(0, bytes.length - 32));
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

/** With another header, and its right length and checksum. */
function withHeader(bytes: Uint8Array, change: (header: Record<string, unknown>) => unknown): Buffer {
  const buffer = Buffer.from(bytes);
  const rowsAt = 16 + buffer.readUInt32LE(12);
  const text = Buffer.from(JSON.stringify(change(JSON.parse(buffer.toString("utf8", 16, rowsAt)))));
  const prefix = Buffer.from(buffer.subarray(0, 16));
  prefix.writeUInt32LE(text.length, 12);
  return sealed(Buffer.concat([prefix, text, buffer.subarray(rowsAt)]));
}

describe.each(MAP_ENCODINGS)("%s", (encoding) => {
  test("what was saved is loaded: rows, ids, searches and all", () => {
    const store = filled(encoding);
    const file = path.join(folder, "deep", "maps");
    saveStore(file, store);
    expect(readdirSync(path.dirname(file))).toEqual(["maps"]);
    const loaded = loadStore(file, expected);
    expect(loaded).toMatchObject({
      size: 6,
      capacity: 10,
      prefetchDistance: 2,
      encoding,
      normaliser: "softmax",
      modelHash: "abc",
    });
    const row = [new Float32Array(5), new Float32Array(5)];
    for (let i = 0; i < 6; i++) {
      expect(loaded.tokenId(i)).toBe(i);
      for (let layer = 0; layer < shape.layers; layer++) {
        store.readRow(i, layer, row[0]);
        loaded.readRow(i, layer, row[1]);
        expect(row[1]).toEqual(row[0]);
      }
      store.readEmbedding(i, row[0]);
      loaded.readEmbedding(i, row[1]);
      expect(row[1]).toEqual(row[0]);
    }
    expect(loaded.inverseNorms).toEqual(store.inverseNorms);
    expect(loaded.embeddingInverseNorms).toEqual(store.embeddingInverseNorms);
    expect(Buffer.from(encodeStore(loaded)).equals(Buffer.from(encodeStore(store)))).toBe(true);
    expect(loaded.insert(undefined, randomMap(shape, randomNumbers(3)), 9)).toBe(6);
  });

  test("the file has its rows only, whatever the capacity", () => {
    const size = (rows: number) => encodeStore(filled(encoding, rows)).length;
    const perValue = { f32: 4, f16: 2, u8: 1 }[encoding];
    expect(size(6) - size(5)).toBe(4 + (12 + 5) * perValue + (encoding === "f32" ? 0 : 16));
  });

  test("any damage is refused", () => {
    const bytes = encodeStore(filled(encoding, 3));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = bytes.slice();
        damaged[at] ^= change;
        expect(reasonOf(() => decodeStore(damaged, expected))).not.toBe("no error");
        expect(reasonOf(() => decodeStore(bytes.subarray(0, at), expected))).not.toBe("no error");
      }),
      { numRuns: 200 },
    );
  });

  test("damage under a right checksum gives an error or a sound store", () => {
    const bytes = encodeStore(filled(encoding, 3));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length - 33 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = bytes.slice();
        damaged[at] ^= change;
        let store: ExpertMapStore;
        try {
          store = decodeStore(sealed(damaged), { shape });
        } catch (error) {
          expect(error).toBeInstanceOf(MapStoreFileError);
          return;
        }
        const row = new Float32Array(4);
        for (let i = 0; i < store.size; i++)
          for (let layer = 0; layer < 3; layer++) {
            store.readRow(i, layer, row);
            expect(Math.abs(row.reduce((a, b) => a + b) - 1)).toBeLessThan(2e-4);
          }
      }),
      { numRuns: 300 },
    );
  });
});

describe("a file of another model", () => {
  const bytes = encodeStore(filled());
  test.each([
    ["layers", { ...expected, shape: { ...shape, layers: 4 } }, "other-shape"],
    ["experts", { ...expected, shape: { ...shape, experts: 5 } }, "other-shape"],
    ["embeddings", { ...expected, shape: { ...shape, hiddenSize: 6 } }, "other-shape"],
    ["normaliser", { ...expected, normaliser: "sigmoid" }, "other-normaliser"],
    ["model", { ...expected, modelHash: "abd" }, "other-model"],
    ["capacity", { ...expected, capacity: 5 }, "too-many-rows"],
    ["nothing", expected, "no error"],
    ["nothing, the hash unknown", { shape }, "no error"],
    ["nothing, more room", { ...expected, capacity: 6, prefetchDistance: 3 }, "no error"],
  ])("%s", (_, wanted, reason) => {
    expect(reasonOf(() => decodeStore(bytes, wanted))).toBe(reason);
  });

  test("the message says what differs and what to do", () => {
    const wanted = { ...expected, shape: { ...shape, experts: 5 } };
    expect(() => decodeStore(bytes, wanted, "a.maps")).toThrow(
      "a.maps: its maps are of 3 layers x 4 experts with embeddings of 5, the model has 3 x 5 with 5. Name the maps of this model.",
    );
  });
});

describe("a hostile file", () => {
  const bytes = encodeStore(filled());
  test.each([
    ["an empty one", () => Buffer.alloc(0), "not-a-map-store"],
    ["another magic", () => Buffer.concat([Buffer.from("GGUF"), bytes.subarray(4)]), "not-a-map-store"],
    ["its first bytes only", () => bytes.subarray(0, 20), "wrong-length"],
    ["bytes behind its end", () => Buffer.concat([bytes, Buffer.alloc(1)]), "wrong-length"],
    ["rows that are not there", () => withHeader(bytes, (header) => ({ ...header, size: 7 })), "wrong-length"],
    [
      "a size that would not fit memory",
      () => withHeader(bytes, (h) => ({ ...h, size: 2 ** 24, capacity: 2 ** 24 })),
      "wrong-length",
    ],
    ["a size that is none", () => withHeader(bytes, (header) => ({ ...header, size: -1 })), "bad-header"],
    ["sizes beyond 2^53", () => withHeader(bytes, (h) => ({ ...h, layers: 1e300 })), "bad-header"],
    ["more rows than capacity", () => withHeader(bytes, (header) => ({ ...header, capacity: 5 })), "bad-header"],
    ["another encoding", () => withHeader(bytes, (header) => ({ ...header, encoding: "f64" })), "bad-header"],
    ["a number for a hash", () => withHeader(bytes, (header) => ({ ...header, modelHash: 1 })), "bad-header"],
    ["no header", () => withHeader(bytes, () => null), "bad-header"],
  ] as [string, () => Uint8Array, MapStoreFileErrorReason][])("%s", (_, make, reason) => {
    expect(reasonOf(() => decodeStore(make(), expected))).toBe(reason);
  });

  test("another version, a header without an end, a value that is no probability", () => {
    const changed = (act: (copy: Buffer) => void) => {
      const copy = Buffer.from(bytes);
      act(copy);
      return sealed(copy);
    };
    const rowsAt = 16 + Buffer.from(bytes).readUInt32LE(12);
    expect(
      reasonOf(() =>
        decodeStore(
          changed((copy) => copy.writeUInt32LE(2, 8)),
          expected,
        ),
      ),
    ).toBe("unsupported-version");
    expect(
      reasonOf(() =>
        decodeStore(
          changed((copy) => copy.writeUInt32LE(2 ** 31, 12)),
          expected,
        ),
      ),
    ).toBe("bad-header");
    const firstValue = rowsAt + 6 * 4;
    for (const value of [Number.NaN, -1, 2, Number.POSITIVE_INFINITY])
      expect(
        reasonOf(() =>
          decodeStore(
            changed((copy) => copy.writeFloatLE(value, firstValue)),
            expected,
          ),
        ),
      ).toBe("bad-row");
    const embedding = bytes.length - 32 - 4;
    expect(
      reasonOf(() =>
        decodeStore(
          changed((copy) => copy.writeFloatLE(Number.NaN, embedding)),
          expected,
        ),
      ),
    ).toBe("bad-row");
  });
});

test("a frozen store is the same file after a run", () => {
  const file = path.join(folder, "maps");
  const store = filled("u8", 6, true);
  saveStore(file, store);
  const before = readFileSync(file);
  const search = new InlineSearch({ store });
  const map = randomMap(shape, randomNumbers(5));
  search.begin(1, randomEmbedding(shape, randomNumbers(6)), 3, 0);
  for (let layer = 0; layer < shape.layers; layer++) search.observe(layer, map.subarray(layer * 4, layer * 4 + 4), 0);
  search.update(undefined, map, 3, 0);
  search.close();
  saveStore(file, store);
  expect(readFileSync(file).equals(before)).toBe(true);
});

test("a save that fails leaves the older file and nothing else", () => {
  const file = path.join(folder, "taken");
  const store = filled();
  saveStore(file, store);
  expect(() => saveStore(path.join(file, "below"), store)).toThrow();
  expect(readdirSync(folder)).toEqual(["taken"]);
  expect(loadStore(file, expected).size).toBe(6);
  writeFileSync(file, "other");
  expect(reasonOf(() => loadStore(file, expected))).toBe("not-a-map-store");
});
