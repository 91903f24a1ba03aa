import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { StockJob } from "./contender-protocol.ts";
import { cutWindows, readHeldOutTexts } from "./held-out.ts";
import { createMemoryCgroup } from "./memory-cgroup.ts";
import { runContender } from "./run-contender.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** A token id for each byte of text stands in for a tokeniser: what is forced does not matter here. */
const texts = readHeldOutTexts([path.join(root, "models/text")]).map(({ domain, text }) => ({
  domain,
  tokens: Buffer.from(text),
}));
const job: StockJob = {
  system: "llama.cpp",
  modelPath: path.join(root, "models/demo-moe-q8_0.gguf"),
  windows: cutWindows(texts, { promptTokens: 8, decodeTokens: 24 }),
  warmupTokens: 8,
  threads: 1,
  repack: true,
};
const cgroup = createMemoryCgroup(512 * 2 ** 20);
if (cgroup.made) cgroup.cgroup[Symbol.dispose]();

describe("stock llama.cpp", () => {
  test("runs as a process of its own and returns its figures", async () => {
    const outcome = await runContender(job);
    if (outcome.status !== "finished") throw new Error(JSON.stringify(outcome));
    const { run } = outcome;
    expect(run).toMatchObject({ system: "llama.cpp", tokens: 16 });
    expect(run.experts).toBeUndefined();
    expect(run.tpotMs.length).toBe(16);
    expect(run.predictions.length).toBe(4 * (1 + 6));
    expect(run.ttftMs).toBeGreaterThan(run.loadMs);
    expect(run.loadMs).toBeGreaterThan(20);
    expect(run.peakRssBytes).toBeGreaterThan(60 * 2 ** 20);
    expect(outcome.cgroup).toBeUndefined();
  });

  test("predicts the same tokens twice", async () => {
    const outcomes = [await runContender(job), await runContender({ ...job, repack: false })];
    const [first, second] = outcomes.map((outcome) => (outcome.status === "finished" ? outcome.run.predictions : []));
    expect(first.length).toBeGreaterThan(0);
    expect(second).toEqual(first);
  });

  test.runIf(cgroup.made)("runs inside a memory cgroup, and a limit that cannot be held is told", async () => {
    const [roomy, tight] = [512, 12].map((mib) => {
      const result = createMemoryCgroup(mib * 2 ** 20);
      if (!result.made) throw new Error(result.reason);
      return result.cgroup;
    });
    using _roomy = roomy;
    using _tight = tight;
    const fits = await runContender(job, { cgroup: roomy });
    expect(fits.status).toBe("finished");
    // Pages of the model that were in the page cache before are charged to whoever read them first.
    if (fits.status === "finished") expect(fits.cgroup?.peakBytes).toBeGreaterThan(12 * 2 ** 20);
    expect((await runContender(job, { cgroup: tight })).status).toBe("killed-by-limit");
  });

  test("that fails says why", async () => {
    const outcome = await runContender({ ...job, modelPath: "/nowhere.gguf" });
    expect(outcome.status).toBe("failed");
    if (outcome.status === "failed") expect(outcome.reason).toMatch(/exit code 1: [\s\S]*nowhere/);
  });

  test("is killed when the bench is interrupted", async () => {
    const controller = new AbortController();
    const windows = cutWindows(texts, { promptTokens: 8, decodeTokens: 1600 });
    const running = runContender({ ...job, windows }, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 300);
    await expect(running).rejects.toThrow("enough");
  });
});
