import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyMetadata, copyTensor, openGguf, writeGguf } from "../gguf/index.ts";
import type { SimulationRow } from "../simulate/simulation-row.ts";
import { importRouteTrace } from "../trace/index.ts";
import { computed, listens, start, warmset } from "./command-line.test-data.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-simulate-"));
const trace = path.join(folder, "gptoss");
/** No figures of whoever runs the tests. */
const env = { XDG_CACHE_HOME: path.join(folder, "cache") };
const simulate = (...args: string[]) => warmset(["simulate", trace, ...args], { env });

beforeAll(async () => {
  const csv = path.join(folder, "gptoss.route.csv");
  const packed = fileURLToPath(new URL("../../test/traces/gptoss.route.csv.gz", import.meta.url));
  writeFileSync(csv, gunzipSync(readFileSync(packed)));
  await importRouteTrace(csv, trace);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the document", () => {
  test("has a row for each policy and cache size, with the figures that others read", async () => {
    const args = ["--policies", "lru,belady", "--cache", "5%,3000MiB", "--disk", "2", "--compute", "50", "--json"];
    const { stdout, exitCode } = await simulate(...args);
    expect(exitCode).toBe(0);
    const { rows, machine, notes, ...head } = JSON.parse(stdout) as {
      rows: SimulationRow[];
      machine: { disk: { kind: string; bytesPerSecond: number }; compute: { kind: string } };
      notes: string[];
    };
    expect(rows.map(({ policy, cacheBytes }) => [policy, cacheBytes])).toEqual([
      ...["lru", "belady"].map((policy) => [policy, Math.floor(0.05 * 36 * 128 * 13219200)]),
      ...["lru", "belady"].map((policy) => [policy, 3000 * 2 ** 20]),
    ]);
    expect(Math.round(1000 * rows[2].hitRate)).toBe(324);
    for (const field of [
      ...["cacheExperts", "cacheBytes", "hitRate", "decodeHitRate", "coverage", "lateHits"],
      ...["bytesPerToken", "bytesWasted", "stallMs", "predictedTokensPerSecond"],
    ])
      expect(rows[0]).toHaveProperty(field, expect.any(Number));
    expect(head).toMatchObject({ convention: "layer/miss", as: "recorded", samples: 1, tokens: 149, start: "warm" });
    expect(machine).toMatchObject({ disk: { kind: "given", bytesPerSecond: 2e9 }, compute: { kind: "given" } });
    expect(notes).toEqual([]);
  });

  test("is the same with any number of workers", async () => {
    const rows = async (workers: string) => {
      const { stdout } = await simulate("--cache", "3000MiB", "--workers", workers, "--json");
      return (JSON.parse(stdout) as { rows: SimulationRow[] }).rows;
    };
    expect(await rows("2")).toEqual(await rows("1"));
  });
});

describe("the text", () => {
  test("says what the machine was taken to be, and warns of a cache below a token cycle", async () => {
    const { stdout, stderr, exitCode } = await simulate("--policies", "lru,next-use", "--cache", "400MiB");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/Drive: 2\.00 GB\/s, a guess.*calibrate/);
    expect(stdout).toMatch(/Computing: .* a guess from the experts' bytes/);
    expect(stdout).toMatch(/400 MiB \(0\.7 %\) +lru +0\.0 % +0\.0 % +908 MiB/);
    expect(stderr).toMatch(/note: A token uses 908 MiB of experts, more than 400 MiB: a global LRU .* hits nothing/);
    expect(stderr).toMatch(/note: next-use: the trace has no router probabilities/);
  });

  test("has passes as they are wished", async () => {
    const decode = await simulate("--policies", "lru", "--as", "decode", "--prompt-tokens", "8", "--start", "cold");
    expect(decode.stdout).toMatch(/every token a decode step, prompts of 8, each sample starts cold/);
    const uncounted = await simulate("--policies", "lru", "--warmup", "1000", "--cache", "3000MiB");
    expect(uncounted.stderr).toMatch(/No decode step was counted/);
    expect(uncounted.stdout).toMatch(/3000|2\.93 GiB .* lru +0\.0 % +- +- +- +- +-/);
  });
});

test("a machine that is measured first is named with its date", async () => {
  const profile = path.join(folder, "measured.json");
  const measured = ["--calibrate", "demo", "--profile", profile];
  const { stdout, exitCode } = await simulate("--policies", "lru", "--cache", "3000MiB", ...measured);
  expect(exitCode).toBe(0);
  const today = new Date().toISOString().slice(0, 10);
  expect(stdout).toMatch(new RegExp(`Drive: up to .* measured ${today} on .*demo-moe`));
  expect(stdout).toMatch(new RegExp(`Computing: .* scaled by the experts' bytes.* measured ${today} with demo-moe`));
  const again = await simulate("--policies", "lru", "--cache", "3000MiB", "--profile", profile, "--json");
  expect(JSON.parse(again.stdout)).toMatchObject({ profile, machine: { disk: { kind: "calibrated" } } });
});

describe("with the traced model", () => {
  const recorded = path.join(folder, "demo");
  const args = ["--policies", "lru,lru+next-gate", "--cache", "40%", "--as", "decode", "--json"];
  const withModel = (...more: string[]) => warmset(["simulate", recorded, ...args, ...more], { env });

  beforeAll(async () => {
    const text = path.join(folder, "prose.txt");
    const prose = fileURLToPath(new URL("../../models/text/prose.txt", import.meta.url));
    writeFileSync(text, readFileSync(prose, "utf8").slice(0, 3000));
    const recording = ["--samples", "2", "--sample-length", "40", "--threads", "1", "--hidden", "--out", recorded];
    expect(await warmset(["trace", "demo", "--text", text, ...recording])).toMatchObject({ exitCode: 0 });
  });

  test("what its routers foresee is read ahead, whatever the number of threads", async () => {
    const documents = await Promise.all(
      ["1", "2"].map(async (workers) => {
        const { stdout, stderr, exitCode } = await withModel("--model", "demo", "--workers", workers);
        expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
        return JSON.parse(stdout) as { rows: SimulationRow[]; notes: string[] };
      }),
    );
    const [{ rows, notes }, spread] = documents;
    expect(rows.map(({ coverage }) => coverage > 0.1)).toEqual([false, true]);
    expect(rows[1].misses).toBeLessThan(rows[0].misses);
    expect(notes).toContainEqual(expect.stringMatching(/^lru\+next-gate: .*not counted here/));
    expect(spread.rows).toEqual(rows);
  });

  test("it must be given, and be that one", async () => {
    expect(await withModel()).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/traced model \(--model/) });
    const file = await otherModel();
    const other = await withModel("--model", file);
    expect(other).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/is not the traced model.*of .*demo/i) });
    expect(await withModel("--model", "none.gguf")).toMatchObject({ exitCode: 3 });
  });

  /** The same model without one of its tensors. */
  async function otherModel(): Promise<string> {
    const file = path.join(folder, "other.gguf");
    const gguf = openGguf(fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url)));
    await writeGguf(file, {
      metadata: copyMetadata(gguf),
      tensors: gguf.tensors.slice(1).map((t) => copyTensor(gguf, t)),
    });
    return file;
  }
});

describe("refused:", () => {
  const fails = async (exitCode: number, message: RegExp, ...args: string[]) => {
    const result = await simulate(...args);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/mistake in warmset/);
  };
  test("a policy that this trace cannot feed", () =>
    fails(2, /next-gate cannot be simulated.*--hidden.*--model/, "--policies", "lru+next-gate"));
  test("an unknown policy", () => fails(2, /unknown policy "mru".*oracle-prefetch/, "--policies", "mru"));
  test("a cache that holds no token's layer", () => fails(4, /smallest that can is 25\.2 MiB/, "--cache", "20MiB"));
  test("a size that is none", () => fails(2, /"much" is not a size/, "--cache", "much"));
  test("a drive that is none", () => fails(2, /--disk fast/, "--disk", "fast"));
  test("computing in no time", () => fails(2, /--compute 0/, "--compute", "0"));
  test("a latency of an unknown drive", () => fails(2, /needs --disk/, "--disk-latency", "1"));
  test("prompts of recorded passes", () => fails(2, /needs --as decode/, "--as", "recorded", "--prompt-tokens", "4"));
  test("a broken profile", () => {
    const profile = path.join(folder, "broken.json");
    writeFileSync(profile, "{");
    return fails(1, /broken\.json is no profile/, "--profile", profile);
  });
  test("no trace", async () => {
    const { exitCode, stderr } = await warmset(["simulate", folder], { env });
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/trace/);
  });
});

test("Ctrl-C ends it in the midst of a sample, on any number of threads", async () => {
  const policies = new Array(300).fill("lfu-per-layer").join(",");
  for (const workers of ["1", "2"]) {
    const { child, finished } = start(["simulate", trace, "--policies", policies, "--workers", workers], { env });
    await listens(child.pid!);
    await computed(child.pid!, 500);
    const sent = performance.now();
    child.kill("SIGINT");
    expect(await finished).toMatchObject({ exitCode: 130, stdout: "" });
    expect(performance.now() - sent).toBeLessThan(4000);
  }
});
