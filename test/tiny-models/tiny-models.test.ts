import { createHash } from "node:crypto";
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { GgmlType, type MoeLayout, openGguf, readMoeLayout } from "../../src/gguf/index.ts";
import { loadLibraries, loadModel } from "../../src/llama/index.ts";
import { type DecodeRecord, type GraphNode, probeModel } from "./graph-probe.ts";
import { makeTinyModel, mixtureBlocks, TINY_MODELS, type TinyModelSpec, tinyModel } from "./index.ts";

const directory = mkdtempSync(join(tmpdir(), "tiny-models-"));
afterAll(() => rmSync(directory, { recursive: true }));

const PAGE_BYTES = 4096;
const GGUF_ALIGNMENT = 32;
const PROMPT_TOKENS = 32;
const SINGLE_TOKENS = 32;

// Tokens as far apart as the vocabulary allows, never the special ones at its start.
const token = (i: number) => 3 + ((i * 37) % 290);
const tokens = Int32Array.from({ length: PROMPT_TOKENS + SINGLE_TOKENS }, (_, i) => token(i));
const DECODES = [
  tokens.slice(0, PROMPT_TOKENS),
  ...Array.from({ length: SINGLE_TOKENS }, (_, i) => tokens.slice(PROMPT_TOKENS + i, PROMPT_TOKENS + i + 1)),
];

const usedIn = (spec: TinyModelSpec, block: number) => spec.expertsUsed?.(block) ?? spec.shape.expertsUsed;

/** Router nodes and expert products of all blocks, written as `expected-nodes.ts` does, each with its block's number. */
function mixtureNodes(nodes: readonly GraphNode[]): string[] {
  return nodes.flatMap(({ name, operation, source }) => {
    const named = /^(ffn_moe\w*)-(\d+)$/.exec(name);
    const weights = operation === "MUL_MAT_ID" ? /^blk\.(\d+)\.(ffn_\w+)\.weight$/.exec(source) : null;
    if (weights !== null) return [`${weights[1]}: ${named?.[1] ?? ""}(${weights[2]})`];
    return named === null ? [] : [`${named[2]}: ${named[1]}`];
  });
}

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A copy of the model in which each expert has the weights of its neighbour. */
function withExpertsRotated(path: string, layout: MoeLayout): string {
  const copy = path.replace(".gguf", "-rotated.gguf");
  copyFileSync(path, copy);
  const bytes = readFileSync(path);
  const file = openSync(copy, "r+");
  for (const { offset, strideBytes, experts } of layout.moeLayers.flatMap((layer) => layer.slices)) {
    writeSync(file, bytes, offset, strideBytes, offset + (experts - 1) * strideBytes);
    writeSync(file, bytes, offset + strideBytes, (experts - 1) * strideBytes, offset);
  }
  closeSync(file);
  return copy;
}

describe.each(TINY_MODELS)("$name", (spec) => {
  let path: string;
  let layout: MoeLayout;
  let records: readonly DecodeRecord[];

  test("is made small and the same each time", async () => {
    path = await makeTinyModel(directory, spec);
    const first = sha256(path);
    expect(statSync(path).size).toBeGreaterThan(0.2e6);
    expect(statSync(path).size).toBeLessThan(3.5e6);
    await makeTinyModel(directory, spec);
    expect(sha256(path)).toBe(first);
  });

  test("has its experts where the reader looks for them", () => {
    layout = readMoeLayout(openGguf(path));
    expect(layout.moeLayers.map((layer) => layer.blockIndex)).toEqual(mixtureBlocks(spec));
    for (const layer of layout.moeLayers) {
      expect(layer.experts).toBe(spec.shape.experts);
      expect(layer.expertsUsed).toBe(usedIn(spec, layer.blockIndex));
    }
    expect(layout.unusedBytes > 0).toBe(spec.uncomputedBlocks !== undefined);
  });

  test("runs in stock llama.cpp with finite, varied logits", () => {
    records = probeModel(path, { decodes: DECODES });
    for (const { logits } of records) {
      expect(logits.every(Number.isFinite)).toBe(true);
      expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(0.5);
    }
    const likeliest = records.map(({ logits }) => logits.indexOf(Math.max(...logits)));
    expect(new Set(likeliest).size).toBeGreaterThan(8);
    expect(likeliest.filter((best, i) => best === DECODES[i].at(-1)).length).toBeLessThan(8);
  });

  test("shows the expected nodes, in batches and for single tokens", () => {
    const expected = mixtureBlocks(spec).flatMap((block) =>
      spec.expectedNodes(block).map((node) => `${block}: ${node}`),
    );
    expect(mixtureNodes(records[0].nodes)).toEqual(expected);
    for (const record of records.slice(1)) expect(mixtureNodes(record.nodes)).toEqual(expected);
  });

  test("has routers that show their choice once per product and choose widely", () => {
    const blocks = mixtureBlocks(spec);
    const stops = blocks.flatMap((block) =>
      spec
        .expectedNodes(block)
        .filter((node) => node === "ffn_moe_topk")
        .map(() => block),
    );
    const seen = new Map(blocks.map((block) => [block, new Set<number>()]));
    records.forEach((record, i) => {
      expect(record.choices.map(({ block }) => block)).toEqual(stops);
      for (const { block, chosen } of record.choices) {
        const all = spec.lastBlockComputesAll === true || block !== spec.shape.layers - 1;
        expect(chosen).toHaveLength(all ? DECODES[i].length : 1);
        for (const experts of chosen) {
          expect(new Set(experts).size).toBe(usedIn(spec, block));
          for (const expert of experts) seen.get(block)!.add(expert);
        }
      }
    });
    for (const experts of seen.values()) {
      expect(experts.size).toBeGreaterThanOrEqual(Math.max(spec.shape.experts / 2, spec.shape.expertsUsed + 1));
      expect(Math.max(...experts)).toBeLessThan(spec.shape.experts);
    }
  });

  test("has routers that stop in micro-batches without outputs too", () => {
    const [{ choices }] = probeModel(path, { decodes: DECODES.slice(0, 1), microBatchSize: PROMPT_TOKENS / 2 });
    const tokensOf = (half: number) =>
      mixtureBlocks(spec).flatMap((block) => {
        // A last block that computes outputs only has nothing to do in the first half, yet its nodes come by.
        const cropped = block === spec.shape.layers - 1 && spec.lastBlockComputesAll !== true;
        const stops = spec.expectedNodes(block).filter((node) => node === "ffn_moe_topk");
        return stops.map(() => (cropped ? half : PROMPT_TOKENS / 2));
      });
    expect(choices.map(({ chosen }) => chosen.length)).toEqual([...tokensOf(0), ...tokensOf(1)]);
  });

  test("says something else when experts are mixed up", () => {
    const rotated = probeModel(withExpertsRotated(path, layout), { decodes: DECODES });
    const changed = rotated.filter(({ logits }, i) =>
      logits.some((logit, j) => Math.abs(logit - records[i].logits[j]) > 0.1),
    );
    expect(changed).toHaveLength(DECODES.length);
  });
});

describe("the tiny models together", () => {
  test("have names of their own", () => {
    expect(new Set(TINY_MODELS.map((spec) => spec.name)).size).toBe(TINY_MODELS.length);
    expect(() => tinyModel("gpt-2")).toThrow(RangeError);
  });

  test("have experts of all common types", () => {
    const types = TINY_MODELS.flatMap((spec) =>
      mixtureBlocks(spec).flatMap((block) => Object.values(spec.shape.expertTypes(block))),
    );
    const { F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, MXFP4 } = GgmlType;
    expect([...new Set(types)]).toEqual(expect.arrayContaining([F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, MXFP4]));
  });

  test("have slices of whole pages, of broken pages and of less than a page", () => {
    const sizes = TINY_MODELS.flatMap((spec) =>
      readMoeLayout(openGguf(join(directory, `${spec.name}.gguf`))).moeLayers.flatMap((layer) =>
        layer.slices.map((slice) => slice.strideBytes),
      ),
    );
    expect(sizes.some((bytes) => bytes > PAGE_BYTES && bytes % PAGE_BYTES === 0)).toBe(true);
    expect(sizes.some((bytes) => bytes > PAGE_BYTES && bytes % PAGE_BYTES !== 0)).toBe(true);
    expect(sizes.some((bytes) => bytes < PAGE_BYTES)).toBe(true);
    expect(sizes.some((bytes) => bytes % GGUF_ALIGNMENT !== 0)).toBe(true);
  });

  test("tokenise any text and give it back", () => {
    using model = loadModel(loadLibraries(), join(directory, "mixtral.gguf"));
    const text = "the cat and another thing: naïve, 1024 € 🦙\n";
    const ids = model.vocabulary.tokenize(text);
    expect(ids[0]).toBe(model.vocabulary.bos);
    expect(model.vocabulary.eos).toBe(2);
    expect(model.vocabulary.detokenize(ids.slice(1)).trimStart()).toBe(text);
  });
});
