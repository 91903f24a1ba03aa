import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGguf, readMoeLayout, readTensor } from "../gguf/index.ts";
import { Batch, createContext, loadLibraries, loadModel, registerEvalCallback, TENSOR_OFFSET } from "../llama/index.ts";
import { NativeWords } from "../llama/native-words.ts";
import { readHeldOutTexts } from "./held-out.ts";
import { inflatedModel, NoRoomToInflateError, writeInflated } from "./inflate.ts";
import { planInflation, STANDARD_TARGET } from "./inflate-plan.ts";

const models = fileURLToPath(new URL("../../models", import.meta.url));
const demo = path.join(models, "demo-moe-q8_0.gguf");
const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-inflate-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the standard target", () => {
  const plan = planInflation(openGguf(demo), STANDARD_TARGET);

  test("gives at least 6 GiB, nearly all of it experts of three slices of 9 MB", () => {
    expect(plan.tensorBytes).toBeGreaterThan(6 * 2 ** 30);
    const experts = plan.tensors.filter(({ source }) => source.name.includes("_exps"));
    expect(experts.reduce((sum, { bytes }) => sum + bytes, 0) / plan.tensorBytes).toBeGreaterThan(0.98);
    for (const { bytes } of experts) expect(bytes / 32).toBe(8_912_896);
  });

  test("keeps heads and experts as they are", () => {
    const shapes = new Map(plan.tensors.map(({ source, shape }) => [source.name, shape]));
    expect(shapes.get("blk.3.attn_k.weight")).toEqual([4096, 128]);
    expect(shapes.get("blk.3.attn_output.weight")).toEqual([256, 4096]);
    expect(shapes.get("blk.3.attn_q_norm.weight")).toEqual([32]);
    expect(shapes.get("blk.3.ffn_down_exps.weight")).toEqual([2048, 4096, 32]);
  });
});

test("a width whose root is not exact is refused", () => {
  const source = openGguf(demo);
  expect(() => planInflation(source, { width: 512, innerWidth: 256 })).toThrow(/256 times a power of 4/);
  expect(() => planInflation(source, { width: 1024, innerWidth: 96 })).toThrow(RangeError);
  expect(() => planInflation(source, { width: 1024, innerWidth: 200 })).toThrow(/cannot grow/);
});

describe("an inflated model", () => {
  let inflated: string;
  beforeAll(async () => {
    inflated = await inflatedModel(demo, { folder, target: { width: 1024, innerWidth: 160 } });
  });

  test("has the shape it was asked for", () => {
    const { hiddenSize, expertsPerLayer, moeLayers } = readMoeLayout(openGguf(inflated));
    expect(hiddenSize).toBe(1024);
    expect(expertsPerLayer).toBe(32);
    expect(moeLayers.map(({ expertBytes }) => expertBytes)).toEqual(new Array(8).fill((3 * 1024 * 160 * 34) / 32));
  });

  test("computes the same logits to the last bit and routes the same on held-out text", () => {
    const [original, result] = [demo, inflated].map(logitsAndRouting);
    expect(result.routing.length).toBe(original.routing.length);
    expect(result.routing).toEqual(original.routing);
    // The prompt stops each layer once for all its tokens; each of the 48 steps stops 8 layers for one.
    expect(original.routing.length).toBeGreaterThan(8 * 48 * 4);
    expect(Buffer.from(result.logits.buffer).equals(Buffer.from(original.logits.buffer))).toBe(true);
  });

  test("is written with data, not with zeros that a disk could leave out", () => {
    const gguf = openGguf(inflated);
    const tensor = gguf.tensor("blk.5.ffn_down_exps.weight")!;
    const slice = readTensor(gguf, tensor, { offset: 0, bytes: tensor.bytes / 32 });
    const zeros = slice.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0);
    // Rows of 160 with 128 old columns: in three of four rows those are zero. In the standard target it is 6 %.
    expect(zeros / slice.length).toBeLessThan(0.65);
    // 512-byte units, at least: a sparse file has fewer of them than its size.
    expect(statSync(inflated).blocks * 512).toBeGreaterThanOrEqual(statSync(inflated).size);
  });

  test("is written once and then found", async () => {
    const before = statSync(inflated).mtimeMs;
    expect(await inflatedModel(demo, { folder, target: { width: 1024, innerWidth: 160 } })).toBe(inflated);
    expect(statSync(inflated).mtimeMs).toBe(before);
    expect(readdirSync(folder)).toEqual([path.basename(inflated)]);
  });
});

test("an aborted inflation leaves nothing behind", async () => {
  const destination = path.join(folder, "aborted.gguf");
  const controller = new AbortController();
  let seen = 0;
  const writing = writeInflated(
    openGguf(demo),
    destination,
    { width: 1024, innerWidth: 160 },
    {
      signal: controller.signal,
      onProgress: ({ writtenBytes }) => {
        seen = writtenBytes;
        if (writtenBytes > 8e6) controller.abort();
      },
    },
  );
  await expect(writing).rejects.toThrow(/abort/);
  expect(seen).toBeGreaterThan(8e6);
  expect(existsSync(destination)).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes("aborted"))).toEqual([]);
});

test("a disk without room is found before anything is written", async () => {
  const target = { width: 256 * 4 ** 5, innerWidth: 2 ** 18 };
  await expect(inflatedModel(demo, { folder, target })).rejects.toThrow(NoRoomToInflateError);
});

/** Prompt of 32 tokens of prose and 48 more one by one: all their logits, and every router's choice. */
function logitsAndRouting(file: string): { logits: Float32Array; routing: number[] } {
  const words = new NativeWords();
  const routing: number[] = [];
  const name = (tensor: number) =>
    Buffer.concat(
      [0, 4, 8, 12].map((at) => Buffer.from(Uint32Array.of(words.u32(tensor + TENSOR_OFFSET.name + at)).buffer)),
    )
      .toString("latin1")
      .split("\0")[0];
  const hook = registerEvalCallback((tensor, ask) => {
    if (!name(tensor).startsWith("ffn_moe_topk-")) return !ask;
    if (ask) return true;
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    const rows = words.u64(tensor + TENSOR_OFFSET.ne + 8);
    for (let row = 0; row < rows; row++)
      for (let k = 0; k < 4; k++)
        routing.push(words.i32(data + row * words.u64(tensor + TENSOR_OFFSET.nb + 8) + k * 4));
    return true;
  });
  using model = loadModel(loadLibraries(), file);
  using context = createContext(model, { contextSize: 128, threads: 1, evalCallback: hook.pointer });
  using batch = new Batch({ capacity: 32 });
  const prose = readHeldOutTexts([path.join(models, "text")]).find(({ domain }) => domain === "prose")!;
  const tokens = model.vocabulary.tokenize(prose.text.slice(0, 2000)).subarray(0, 80);
  const rows: Float32Array[] = [];
  for (let at = 0; at < tokens.length; ) {
    batch.clear();
    const count = at === 0 ? 32 : 1;
    for (let i = 0; i < count; i++) batch.add(tokens[at + i], at + i, 0, i === count - 1);
    expect(context.decode(batch)).toEqual({ status: "ok" });
    rows.push(context.logits(-1).slice());
    at += count;
  }
  hook.release();
  const logits = new Float32Array(rows.length * rows[0].length);
  for (const [i, row] of rows.entries()) logits.set(row, i * row.length);
  return { logits, routing };
}
