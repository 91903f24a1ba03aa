import { afterAll, describe, expect, test } from "vitest";
import { tokenCycleBytes } from "../cache/shape.ts";
import { temporaryFolder, thrownBy } from "./header-bytes.test-data.ts";
import {
  GgmlType,
  type GgufError,
  type MetadataEntry,
  type MoeLayout,
  openGguf,
  readMoeLayout,
  readTensor,
  splitGguf,
  type TensorSource,
  tensorSize,
  toModelShape,
  UnsupportedModelError,
  writeGguf,
} from "./index.ts";

const MODEL = "models/demo-moe-q8_0.gguf";
const folder = temporaryFolder();
afterAll(folder.remove);

interface ModelOptions {
  readonly tensors: readonly TensorSource[];
  /** Entries of the architecture "test" that replace or extend the usual ones. */
  readonly keys?: readonly MetadataEntry[];
}

const USUAL_KEYS: readonly MetadataEntry[] = [
  { key: "general.architecture", type: "string", value: "test" },
  { key: "test.block_count", type: "u32", value: 3 },
  { key: "test.embedding_length", type: "u32", value: 64 },
  { key: "test.expert_count", type: "u32", value: 4 },
  { key: "test.expert_used_count", type: "u32", value: 2 },
];

async function layoutOf({ tensors, keys = [] }: ModelOptions): Promise<MoeLayout> {
  const path = folder.file("model.gguf");
  const replaced = new Set(keys.map(({ key }) => key));
  await writeGguf(path, { metadata: [...USUAL_KEYS.filter(({ key }) => !replaced.has(key)), ...keys], tensors });
  return readMoeLayout(openGguf(path));
}

async function refused(options: ModelOptions): Promise<UnsupportedModelError> {
  const error = await layoutOf(options).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(UnsupportedModelError);
  return error as UnsupportedModelError;
}

function tensor(name: string, shape: readonly number[], type: GgmlType = GgmlType.F32): TensorSource {
  const size = tensorSize(type, shape);
  if ("problem" in size) throw new Error(size.problem);
  return { name, type, shape, data: new Uint8Array(size.bytes) };
}

/** Gate, up and down of 4 experts with 64 x 32 matrices. */
function experts(block: number, type: GgmlType = GgmlType.F32): TensorSource[] {
  return [
    tensor(`blk.${block}.ffn_gate_exps.weight`, [64, 32, 4], type),
    tensor(`blk.${block}.ffn_up_exps.weight`, [64, 32, 4], type),
    tensor(`blk.${block}.ffn_down_exps.weight`, [32, 64, 4], type),
  ];
}
const EXPERT_F32 = 3 * 64 * 32 * 4;

describe("the demo model", () => {
  test("has eight layers of 32 experts, and every byte is accounted for", () => {
    const gguf = openGguf(MODEL);
    const layout = readMoeLayout(gguf);
    expect(layout).toMatchObject({
      architecture: "qwen3moe",
      blockCount: 8,
      expertsPerLayer: 32,
      expertsUsed: 4,
      hiddenSize: 256,
      unusedBytes: 0,
    });
    expect(layout.moeLayers.map(({ blockIndex }) => blockIndex)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    // Three q8_0 matrices of 256 x 128: 34 bytes per 32 weights.
    expect(layout.moeLayers[3].expertBytes).toBe((3 * 256 * 128 * 34) / 32);
    expect(layout.moeLayers[3].slices.map(({ role }) => role)).toEqual(["gate", "up", "down"]);
    expect(gguf.shards[0].dataOffset + layout.denseBytes + layout.expertBytesTotal).toBe(gguf.fileBytes);
  });

  test("its shape gives the same token cycle", () => {
    const layout = readMoeLayout(openGguf(MODEL));
    const shape = toModelShape(layout);
    const expertBytes = new Array(8).fill(104_448);
    expect(shape).toEqual({ layers: 8, experts: 32, expertsUsed: 4, expertBytes, hiddenSize: 256 });
    expect(tokenCycleBytes(shape)).toBe(layout.tokenCycleBytes);
  });

  test("dense ranges and expert slices cover every tensor byte once, in a split set too", async () => {
    const [first] = await splitGguf(MODEL, folder.file("split"), { maxShardBytes: 5_000_000 });
    for (const path of [MODEL, first]) {
      const gguf = openGguf(path);
      const layout = readMoeLayout(gguf);
      const slices = layout.moeLayers.flatMap((layer) => layer.slices);
      const pieces = [
        ...layout.denseRanges,
        ...slices.map(({ shard, offset, strideBytes, experts }) => ({ shard, offset, bytes: strideBytes * experts })),
      ].sort((a, b) => a.shard - b.shard || a.offset - b.offset);
      gguf.shards.forEach(({ dataOffset, fileBytes }, index) => {
        let end = dataOffset;
        for (const piece of pieces.filter(({ shard }) => shard === index)) {
          expect(piece.offset).toBe(end);
          end = piece.offset + piece.bytes;
        }
        expect(end).toBe(fileBytes);
      });
    }
  });

  test("an expert's slice is found by its stride", () => {
    const gguf = openGguf(MODEL);
    const slice = readMoeLayout(gguf).moeLayers[2].slices[1];
    const whole = gguf.tensor(slice.tensorName)!;
    const expert = readTensor(gguf, whole, { offset: 5 * slice.strideBytes, bytes: slice.strideBytes });
    expect(slice.offset).toBe(whole.offset);
    expect(Buffer.from(readTensor(gguf, whole)).indexOf(expert)).toBe(5 * slice.strideBytes);
  });
});

describe("layouts", () => {
  test("biases, scales, shared and chunk experts, routers and first layers stay dense", async () => {
    const dense = [
      tensor("token_embd.weight", [64, 10]),
      tensor("blk.0.ffn_up.weight", [64, 32]),
      tensor("blk.1.ffn_gate_exps.bias", [32, 4]),
      tensor("blk.1.ffn_up_exps.scale", [4]),
      tensor("blk.1.ffn_down_exps.input_scale", [4]),
      tensor("blk.1.ffn_norm_exps.weight", [64]),
      tensor("blk.1.ffn_up_shexp.weight", [64, 32]),
      tensor("blk.1.ffn_up_chexps.weight", [64, 32, 2]),
      tensor("blk.1.ffn_gate_inp.weight", [64, 4]),
      tensor("blk.1.exp_probs_b.bias", [4]),
    ];
    const layout = await layoutOf({ tensors: [...dense, ...experts(1), ...experts(2)] });
    expect(layout.moeLayers.map(({ blockIndex }) => blockIndex)).toEqual([1, 2]);
    expect(layout.denseBytes).toBe(dense.reduce((sum, { data }) => sum + (data as Uint8Array).length, 0));
    expect(layout.denseRanges).toHaveLength(1);
    expect(layout.expertBytesTotal).toBe(2 * 4 * EXPERT_F32);
  });

  test("fused gate and up, and experts without a gate", async () => {
    const layout = await layoutOf({
      tensors: [
        tensor("blk.0.ffn_down_exps.weight", [32, 64, 4]),
        tensor("blk.0.ffn_gate_up_exps.weight", [64, 64, 4]),
        tensor("blk.1.ffn_up_exps.weight", [64, 32, 4]),
        tensor("blk.1.ffn_down_exps.weight", [32, 64, 4]),
      ],
    });
    expect(layout.moeLayers.map(({ slices }) => slices.map(({ role }) => role))).toEqual([
      ["gate_up", "down"],
      ["up", "down"],
    ]);
    expect(layout.moeLayers.map(({ expertBytes }) => expertBytes)).toEqual([EXPERT_F32, (EXPERT_F32 / 3) * 2]);
  });

  test("mixed quantisations and a number of used experts per layer", async () => {
    const layout = await layoutOf({
      tensors: [...experts(0), ...experts(1, GgmlType.Q8_0), ...experts(2, GgmlType.F16)],
      keys: [{ key: "test.expert_used_count", type: "u32[]", value: [1, 3, 2] }],
    });
    const q8 = (EXPERT_F32 / 4 / 32) * 34;
    expect(toModelShape(layout)).toMatchObject({ expertsUsed: 3, expertBytes: [EXPERT_F32, q8, EXPERT_F32 / 2] });
    expect(layout.tokenCycleBytes).toBe(EXPERT_F32 + 3 * q8 + 2 * (EXPERT_F32 / 2));
  });

  test("blocks for multi-token prediction are neither streamed nor dense", async () => {
    const layout = await layoutOf({
      tensors: [...experts(0), tensor("blk.2.nextn.eh_proj.weight", [64, 64]), ...experts(2)],
      keys: [{ key: "test.nextn_predict_layers", type: "u32", value: 1 }],
    });
    expect(layout.moeLayers).toHaveLength(1);
    expect(layout.unusedBytes).toBe(4 * EXPERT_F32 + 64 * 64 * 4);
    expect(layout.denseBytes).toBe(0);
    expect(layout.denseRanges).toEqual([]);
  });
});

describe("models that are not streamed", () => {
  test("a model without experts", async () => {
    const error = await refused({ tensors: [tensor("blk.0.ffn_up.weight", [64, 32])] });
    expect(error.architecture).toBe("test");
    expect(error.message).toContain("no routed experts");
    expect(error.message).toContain("llama.cpp");
  });

  test("one tensor per expert, as before April 2024", async () => {
    const error = await refused({ tensors: [tensor("blk.0.ffn_gate.0.weight", [64, 32])] });
    expect(error.found).toContain("blk.0.ffn_gate.0.weight");
  });

  test("a draft model", async () => {
    const keys: MetadataEntry[] = [{ key: "test.nextn_predict_layers", type: "u32", value: 3 }];
    expect((await refused({ tensors: experts(0), keys })).found).toContain("draft");
  });

  test("expert tensors that do not fit the number of experts", async () => {
    const keys: MetadataEntry[] = [{ key: "test.expert_count", type: "u32", value: 8 }];
    expect((await refused({ tensors: experts(0), keys })).found).toContain("blk.0.ffn_gate_exps.weight");
  });

  test("experts with a projection missing", async () => {
    expect((await refused({ tensors: experts(0).slice(0, 2) })).found).toContain("gate and up");
  });

  test("experts in a block that the model does not have", async () => {
    expect((await refused({ tensors: experts(3) })).found).toContain("blk.3.");
  });

  test("more experts used than there are", async () => {
    const keys: MetadataEntry[] = [{ key: "test.expert_used_count", type: "u32", value: 5 }];
    expect((await refused({ tensors: experts(0), keys })).found).toContain("uses 5");
  });

  test("numbers that would size an allocation are held against limits", async () => {
    for (const key of ["block_count", "expert_count"]) {
      await layoutOf({ tensors: experts(0), keys: [{ key: `test.${key}`, type: "u32", value: 2 ** 32 - 1 }] }).then(
        () => expect.unreachable(),
        (error: GgufError) => expect(error.reason).toBe("bad-value"),
      );
    }
  });

  test("a file without an architecture", async () => {
    const path = folder.file("nameless.gguf");
    await writeGguf(path, { metadata: [], tensors: experts(0) });
    expect((thrownBy(() => readMoeLayout(openGguf(path))) as GgufError).reason).toBe("missing-key");
  });
});
