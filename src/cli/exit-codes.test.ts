/** Every class of failure ends with its exit code, one clear sentence on stderr and nothing on stdout. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STREAMING, type StartOptions, warmset } from "./command-line.test-data.ts";
import { type OddModels, writeOddModels } from "./odd-models.test-data.ts";

let folder: string;
let models: OddModels;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-exit-codes-"));
  models = await writeOddModels(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function fails(args: readonly string[], exitCode: number, message: RegExp, options: StartOptions = {}) {
  const result = await warmset(args, options);
  expect(result).toMatchObject({ exitCode, stdout: "" });
  expect(result.stderr).toMatch(message);
  expect(result.stderr).not.toMatch(/\n {4}at |mistake in warmset/);
}

const run = (...args: readonly string[]) => ["run", "demo", ...STREAMING, "-n", "2", "-p", "Hi", ...args];

describe("2, wrong usage:", () => {
  test("an unknown command", () => fails(["rnu", "demo"], 2, /unknown command 'rnu'.*Did you mean run/s));
  test("an unknown option", () => fails(run("--fast"), 2, /unknown option '--fast'/));
  test("no model", () => fails(["run", "-p", "Hi"], 2, /No model.*demo/));
  test("two models", () => fails(run("-m", "other.gguf"), 2, /Two models/));
  test("no prompt", () => fails(["run", "demo"], 2, /prompt is empty.*-p/));
  test("a number that is none", () => fails(run("-n", "many"), 2, /many.*whole number/));
  test("a number out of range", () => fails(run("--top-p", "2"), 2, /from 0 to 1/));
  test("a size that is none", () =>
    fails(["run", "demo", "-p", "Hi", "--memory", "5parsecs"], 2, /"5parsecs" is not a size/));
  test("two budgets", () => fails(run("--memory", "1GiB"), 2, /not both/));
  test("an unknown policy", () => fails(run("--policy", "mru"), 2, /unknown policy "mru".*lru/));
  test("an unknown kind of reads", () => fails(run("--io", "telepathy"), 2, /Allowed choices/));
  test("a missing grammar file", () => fails(run("--grammar-file", "/none.gbnf"), 2, /--grammar-file \/none\.gbnf/));
  test("a broken grammar", () => fails(run("--grammar", "root ::= ("), 2, /grammar does not parse/));
  test("a template for a raw prompt", () => fails(run("--raw", "--chat-template-file", "x"), 2, /not both/));
  test("a variable that cannot be understood", () =>
    fails(run(), 2, /WARMSET_SEED=abc: .*whole number/, { env: { WARMSET_SEED: "abc" } }));
  test("a drive's speed that is none", () => fails(["plan", "demo", "--disk", "fast"], 2, /--disk fast/));
  test("a missing text", () => fails(["bench", "demo", "--text", "/none.txt"], 2, /--text \/none\.txt/));
  test("a bench without counted tokens", () =>
    fails(["bench", "demo", "--tokens", "4", "--warmup", "4"], 2, /--warmup/));
});

describe("3, model unusable:", () => {
  test("a missing file", () => fails(["run", "none.gguf", "-p", "Hi"], 3, /none\.gguf: there is no such file/));
  test("a folder", () => fails(["inspect", os.tmpdir()], 3, /not a regular file/));
  test("not a GGUF file", () => fails(["run", models.notGguf, "-p", "Hi"], 3, /notes\.txt/));
  test("a dense model", () => fails(["run", models.dense, "-p", "Hi"], 3, /no routed experts.*llama\.cpp/));
  test("a dense model, inspected", () => fails(["inspect", models.dense, "--json"], 3, /no routed experts/));
  test("an architecture that llama.cpp does not know", () =>
    fails(["run", models.unknownArchitecture, "-p", "Hi"], 3, /cannot load.*nosuch/s));
});

describe("4, budget too small:", () => {
  test("of everything, with the smallest that works", () =>
    fails(["run", "demo", "-p", "Hi", "--memory", "20MiB"], 4, /smallest that works is \d+ MiB/));
  test("of experts", () => fails(["run", "demo", "-p", "Hi", "--expert-memory", "100KiB"], 4, /smallest that works/));
});

describe("1, failed:", () => {
  test("a prompt longer than the context", () =>
    fails(["run", "demo", ...STREAMING], 1, /context holds 512/, { stdin: "A long story. ".repeat(500) }));
});
