/**
 * Whether a budget is kept, on a model of 231 MB made from the demo model: the peak of all processes, in a cgroup that
 * allows no more, and over a thousand generations.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inflatedModel } from "../../src/bench/inflate.ts";
import { createMemoryCgroup } from "../../src/bench/memory-cgroup.ts";
import { openModel } from "../../src/index.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const INDEX = pathToFileURL(join(import.meta.dirname, "../../dist/index.js")).href;
const MIB = 2 ** 20;
const SMALL = { threads: 1, contextSize: 512 } as const;
const TEXT =
  "Once upon a time there was a little fox who lived at the edge of the forest. def add(a, b): return a + b. The " +
  "capital of France is Paris, and 12 + 30 = 42.";

let model = "";
beforeAll(async () => {
  // Kept between runs: its name says what it is made of.
  const folder = join(tmpdir(), "warmset-test-models");
  model = await inflatedModel(DEMO_MODEL, { folder, target: { width: 1024, innerWidth: 256 } });
}, 180_000);

async function smallestBudget(): Promise<number> {
  const refused = await openModel(model, { ...SMALL, memory: 1 }).catch((error) => error);
  return (refused as { data: { smallestBudgetBytes: number } }).data.smallestBudgetBytes;
}

describe("a budget for everything", () => {
  test.each([
    ["the smallest", 0],
    ["a tenth more", 0.1],
    ["half way", 0.5],
    ["nearly everything", 0.9],
    ["everything", 1.2],
  ])("is kept by program and model together: %s", async (_, share) => {
    const smallest = await smallestBudget();
    const budget = Math.ceil(smallest + 16 * MIB + share * 200 * MIB);
    const ownBytes = process.memoryUsage.rss();
    await using opened = await openModel(model, { ...SMALL, memory: budget });
    expect(opened.info.resident).toBe(share > 1);
    const { tokens } = await opened.generate(TEXT, { temperature: 0, maxTokens: 24, ignoreEndOfGeneration: true })
      .result;
    expect(tokens).toHaveLength(24);
    const { peakBytes = 0 } = await opened.stats();
    expect(peakBytes + ownBytes).toBeLessThanOrEqual(budget);
    // A budget that is not used is no feat.
    if (share < 1) expect(peakBytes + ownBytes).toBeGreaterThan(budget - 80 * MIB);
  });
});

describe("a memory cgroup as large as the budget", () => {
  test("does not kill the program or the model", async ({ skip }) => {
    const folder = mkdtempSync(join(tmpdir(), "cgroup-"));
    afterAll(() => rmSync(folder, { recursive: true }));
    const program = join(folder, "program.mjs");
    writeFileSync(
      program,
      `import { openModel } from ${JSON.stringify(INDEX)};
      const [path, memory] = process.argv.slice(2);
      const options = { threads: 1, contextSize: 512, memory: Number(memory) };
      const model = await openModel(path, options).catch((error) => ({ smallest: error.data.smallestBudgetBytes }));
      if (model.smallest) console.log(model.smallest);
      else {
        const { tokens } = await model.generate(${JSON.stringify(TEXT)}, { temperature: 0, maxTokens: 32, ignoreEndOfGeneration: true }).result;
        console.log(tokens.length);
        await model.close();
      }`,
    );
    const run = (command: readonly string[]): Promise<string> =>
      new Promise((resolve, reject) => {
        const child = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
        let out = "";
        child.stdout.on("data", (text) => {
          out += text;
        });
        let problems = "";
        child.stderr.on("data", (text) => {
          problems += text;
        });
        child.on("close", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`${code}: ${problems}`))));
      });
    const smallest = Number(await run([process.execPath, program, model, "1"]));
    const budget = smallest + 16 * MIB;
    const made = createMemoryCgroup(budget);
    if (!made.made) {
      console.warn(`SKIPPED, nothing was proved: no memory cgroup could be made (${made.reason})`);
      return skip(made.reason);
    }
    using cgroup = made.cgroup;
    expect(await run(cgroup.enter([process.execPath, program, model, String(budget)]))).toBe("32");
    expect(cgroup.figures().oomKills).toBe(0);
  });
});

describe("a thousand generations", () => {
  test("leave the model's process as large as it was", async () => {
    await using opened = await openModel(DEMO_MODEL, { ...SMALL, expertMemory: "25%" });
    const generate = async (i: number) => {
      const prompt = Int32Array.from({ length: 4 + (i % 3) }, (_, j) => 100 + ((i * 31 + j * 17) % 3000));
      await opened.generate(prompt, { maxTokens: 2, temperature: i % 2, ignoreEndOfGeneration: true }).result;
    };
    const residentAfter = async (from: number, to: number): Promise<number> => {
      for (let i = from; i < to; i++) await generate(i);
      return (await opened.stats()).residentBytes;
    };
    const warm = await residentAfter(0, 200);
    const later = await residentAfter(200, 1200);
    expect(later - warm).toBeLessThan(8 * MIB);
    // Half a minute on a quiet machine.
  }, 300_000);
});
