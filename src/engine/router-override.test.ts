import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inWholePages, makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { exportRouter, readBaseModel, writeLoraAdapter, writeRouterSafetensors } from "../adapter/index.ts";
import { DEMO_MODEL, fileHash, randomRouters } from "../adapter/random-routers.test-data.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { openSession } from "./open-session.ts";
import type { MemoryBudget, SessionOptions } from "./options.ts";

const folder = mkdtempSync(join(tmpdir(), "router-override-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TOKENS = Int32Array.from({ length: 40 }, (_, i) => 3 + ((i * 37) % 290));

interface Run {
  /** After the prompt and after each of the tokens that follow. */
  readonly logits: readonly Float32Array[];
  readonly notes: readonly string[];
  readonly evicted: boolean;
}

function run(path: string, options: SessionOptions): Run {
  using session = openSession(path, { contextSize: 256, threads: 1, microBatchTokens: 16, ...options });
  const logits = [session.feed(TOKENS.subarray(0, 32), 0).slice()];
  for (let i = 32; i < TOKENS.length; i++) logits.push(session.feed(TOKENS.subarray(i, i + 1), i).slice());
  const { bytesRead } = session.statistics();
  return { logits, notes: session.notes, evicted: bytesRead > session.load.bytesRead };
}

describe.each([
  { name: "demo", make: async () => DEMO_MODEL },
  { name: "qwen3moe", make: () => makeTinyModel(folder, tinyModel("qwen3moe")) },
  { name: "gpt-oss", make: () => makeTinyModel(folder, tinyModel("gpt-oss")) },
  // Routers outside `build_lora_mm`: an adapter does nothing to them in llama.cpp.
  { name: "kimi-k3", make: () => makeTinyModel(folder, tinyModel("kimi-k3")) },
  { name: "olmoe in slots", make: () => makeTinyModel(folder, inWholePages(tinyModel("olmoe"))) },
])("routers put in the place of those of $name", ({ name, make }) => {
  let path: string;
  let patched: string;
  let routers: string;
  let half: MemoryBudget;

  beforeAll(async () => {
    path = await make();
    const base = readBaseModel(path);
    routers = join(folder, `${name}.safetensors`);
    await writeRouterSafetensors(routers, randomRouters(base, { bias: true }));
    patched = join(folder, `${name}.patched.gguf`);
    copyFileSync(path, patched);
    await exportRouter({ input: routers, output: patched, form: "in-place", model: patched, scale: 0.7 });
    half = { kind: "experts", bytes: readMoeLayout(openGguf(path)).expertBytesTotal / 2 };
  });

  test.each([
    { how: "all in memory", options: (): SessionOptions => ({}) },
    { how: "streamed", options: (): SessionOptions => ({ memory: half }) },
    { how: "streamed by the page cache", options: (): SessionOptions => ({ memory: half, backend: "page-cache" }) },
  ])("$how: as in the patched file bit for bit, and the file is untouched", ({ how, options }) => {
    const hash = fileHash(path);
    const tuned = run(path, { ...options(), router: { path: routers, scale: 0.7 } });
    expect(tuned.logits).toEqual(run(patched, options()).logits);
    expect(tuned.evicted).toBe(how !== "all in memory");
    expect(tuned.notes.join(" ")).toContain("at scale 0.7");
    const own = run(path, options()).logits;
    expect(tuned.logits).not.toEqual(own);
    expect(run(path, { ...options(), router: { path: routers, scale: 0 } }).logits).toEqual(own);
    expect(fileHash(path)).toBe(hash);
  });
});

test("an adapter gives what it gives in the file, and one of another model is refused by name", async () => {
  const base = readBaseModel(DEMO_MODEL);
  const adapter = join(folder, "adapter.gguf");
  await writeLoraAdapter(adapter, randomRouters(base), base);
  const patched = join(folder, "patched.gguf");
  copyFileSync(DEMO_MODEL, patched);
  await exportRouter({ input: adapter, output: patched, form: "in-place", model: patched });
  expect(run(DEMO_MODEL, { router: { path: adapter } }).logits).toEqual(run(patched, {}).logits);
  const tiny = await makeTinyModel(folder, tinyModel("qwen3moe"));
  for (const [path, router] of [
    [tiny, adapter],
    [patched, adapter],
  ])
    expect(() => openSession(path, { router: { path: router } })).toThrow(
      expect.objectContaining({ name: "AdapterError", kind: "wrong-base" }),
    );
});
