/** Files from strangers: whatever their bytes say, reading them ends in routers that fit or in an error with a name. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { GgmlType, type MetadataEntry, type TensorSource, writeGguf } from "../gguf/index.ts";
import { readBaseModel } from "./base-model.ts";
import { writeLoraAdapter } from "./lora-file.ts";
import { randomRouters } from "./random-routers.test-data.ts";
import { readRouterFile } from "./router-file.ts";
import { writeRouterSafetensors } from "./router-safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "hostile-routers-"));
afterAll(() => rmSync(folder, { recursive: true }));

const base = readBaseModel(await makeTinyModel(folder, tinyModel("qwen3moe")));
const good = randomRouters(base);
const matrices = join(folder, "good.safetensors");
const adapter = join(folder, "good.gguf");
await writeRouterSafetensors(matrices, good);
await writeLoraAdapter(adapter, good, base);
const file = join(folder, "bad");

function read(bytes: Uint8Array): "read" | string {
  writeFileSync(file, bytes);
  try {
    const { layers } = readRouterFile(file, base).delta;
    for (const { gate } of layers) {
      expect(gate).toHaveLength(base.experts * base.width);
      expect(gate.every(Number.isFinite)).toBe(true);
    }
    return "read";
  } catch (error) {
    const { name, message } = error as Error;
    expect(["AdapterError", "GgufError", "UnsupportedModelError", "TuneError"]).toContain(name);
    expect(message).toContain(file);
    return (error as { kind?: string }).kind ?? name;
  }
}

test.each([matrices, adapter])("%s cut off anywhere is refused", (path) => {
  const bytes = readFileSync(path);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: bytes.length - 33 }), (length) => {
      expect(read(bytes.subarray(0, length))).not.toBe("read");
    }),
    { numRuns: 60 },
  );
});

test.each([matrices, adapter])("%s with bytes changed is read or refused, and nothing else", (path) => {
  const bytes = readFileSync(path);
  const headerBytes = 4000;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: headerBytes }), fc.integer({ min: 0, max: 255 })), { minLength: 1 }),
      (changes) => {
        const changed = Uint8Array.from(bytes);
        for (const [at, value] of changes) changed[at] = value;
        read(changed);
      },
    ),
    { numRuns: 150 },
  );
});

/** A safetensors file with this header, and `dataBytes` zeros. */
function withHeader(header: unknown, dataBytes = 0): Uint8Array {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

const NAME = "blk.0.ffn_gate_inp.weight";
const ENTRY = { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] };

test.each([
  { what: "a length beyond the file", bytes: Buffer.from([255, 255, 255, 255, 255, 255, 255, 127]), says: "damaged" },
  { what: "no JSON", bytes: withHeader("{", 4), says: "damaged" },
  { what: "a list", bytes: withHeader("[]", 4), says: "damaged" },
  { what: "nothing of ours", bytes: withHeader({ [NAME]: ENTRY }, 16), says: "unsupported" },
  { what: "metadata that is no text", bytes: withHeader({ __metadata__: { format: 1 } }), says: "damaged" },
  { what: "a gap", bytes: withHeader({ [NAME]: { ...ENTRY, data_offsets: [4, 20] } }, 20), says: "damaged" },
  { what: "an overlap", bytes: withHeader({ [NAME]: ENTRY, b: ENTRY }, 16), says: "damaged" },
  { what: "bytes behind the end", bytes: withHeader({ [NAME]: ENTRY }, 20), says: "damaged" },
  {
    what: "a shape that does not fit",
    bytes: withHeader({ [NAME]: { ...ENTRY, shape: [2, 3] } }, 16),
    says: "damaged",
  },
  {
    what: "a shape beyond counting",
    bytes: withHeader({ [NAME]: { ...ENTRY, shape: [2 ** 40, 2 ** 40] } }, 16),
    says: "damaged",
  },
  {
    what: "negative offsets",
    bytes: withHeader({ [NAME]: { ...ENTRY, data_offsets: [-16, 0] } }, 16),
    says: "damaged",
  },
  { what: "another type", bytes: withHeader({ [NAME]: { ...ENTRY, dtype: "BF16" } }, 16), says: "unsupported" },
])("a safetensors file with $what is $says", ({ bytes, says }) => {
  expect(read(bytes)).toBe(says);
});

const TYPE: MetadataEntry[] = [
  { key: "general.type", type: "string", value: "adapter" },
  { key: "general.architecture", type: "string", value: "qwen3moe" },
  { key: "adapter.type", type: "string", value: "lora" },
];

function ours(blocks: number[], hashes: string[]): MetadataEntry[] {
  return [
    ...TYPE,
    { key: "warmset.router.version", type: "u32", value: 1 },
    { key: "warmset.router.experts", type: "u32", value: base.experts },
    { key: "warmset.router.used", type: "u32", value: base.used },
    { key: "warmset.router.width", type: "u32", value: base.width },
    { key: "warmset.router.blocks", type: "u32[]", value: blocks },
    { key: "warmset.router.base_sha256", type: "string[]", value: hashes },
  ];
}

function floats(name: string, shape: number[], value = 0): TensorSource {
  const values = new Float32Array(shape.reduce((product, length) => product * length, 1)).fill(value);
  return { name, shape, type: GgmlType.F32, data: new Uint8Array(values.buffer) };
}

const HASH = base.gates[0].sha256;
const { width, experts } = base;
const A = floats(`${NAME}.lora_a`, [width, 2]);
const B = floats(`${NAME}.lora_b`, [2, experts]);

test.each([
  { what: "of another maker", metadata: TYPE, tensors: [A, B], says: "unsupported" },
  {
    what: "of another type",
    metadata: [...TYPE.slice(0, 2), { key: "adapter.type", type: "string", value: "ia3" } satisfies MetadataEntry],
    tensors: [A, B],
    says: "unsupported",
  },
  { what: "of a block that is not there", metadata: ours([900], [HASH]), tensors: [], says: "wrong-base" },
  { what: "of another gate", metadata: ours([0], ["0".repeat(64)]), tensors: [A, B], says: "wrong-base" },
  { what: "with half a pair", metadata: ours([0], [HASH]), tensors: [A], says: "damaged" },
  { what: "with fewer hashes than blocks", metadata: ours([0, 1], [HASH]), tensors: [A, B], says: "damaged" },
  { what: "with a block twice", metadata: ours([0, 0], [HASH, HASH]), tensors: [A, B], says: "damaged" },
  { what: "of no block", metadata: ours([], []), tensors: [], says: "damaged" },
  {
    what: "whose parts do not fit",
    metadata: ours([0], [HASH]),
    tensors: [A, floats(`${NAME}.lora_b`, [3, experts])],
    says: "damaged",
  },
  {
    what: "of infinite values",
    metadata: ours([0], [HASH]),
    tensors: [floats(`${NAME}.lora_a`, [width, 2], Infinity), floats(`${NAME}.lora_b`, [2, experts], 1)],
    says: "damaged",
  },
  {
    what: "that changes attention too",
    metadata: ours([0], [HASH]),
    tensors: [A, B, floats("blk.0.attn_q.weight.lora_a", [width, 2])],
    says: "unsupported",
  },
  { what: "as it should be", metadata: ours([0], [HASH]), tensors: [A, B], says: "read" },
])("an adapter $what is $says", async ({ metadata, tensors, says }) => {
  await writeGguf(file, { metadata, tensors });
  expect(read(readFileSync(file))).toBe(says);
});
