import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import type { EvaluationResult } from "../tune/eval/evaluation.ts";
import { warmset } from "./command-line.test-data.ts";
import { DEMO_MODEL } from "./model-options.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-tune-cli-"));
const text = path.join(path.dirname(DEMO_MODEL), "text", "prose.txt");
const adapter = path.join(folder, "slow.gguf");
const small = ["--text", text, "--samples", "4", "--sample-length", "64", "-t", "1"];
afterAll(() => rmSync(folder, { recursive: true }));

test("tune writes an adapter, tells its cost first and what it brought; tune eval compares it", async () => {
  const tuned = await warmset([
    "tune",
    "demo",
    ...small,
    "--out",
    adapter,
    "--budget",
    "0.1",
    "--sweeps",
    "1",
    "--json",
  ]);
  expect(tuned.stderr).toMatch(/^estimate: 4 documents, 256 tokens, through the model 1 time;/);
  const document = JSON.parse(tuned.stdout);
  expect(document).toMatchObject({ out: adapter, documents: 4, heldOutDocuments: 1 });
  expect(document.before.eor).toBeGreaterThan(0);
  expect(document.after).toMatchObject({ meanKl: expect.any(Number), top1Agreement: expect.any(Number) });
  expect(Object.keys(document.before.lruHitRate)).toContain("16");

  const [json, html] = ["result.json", "report.html"].map((name) => path.join(folder, name));
  const compared = await warmset([
    ...["tune", "eval", "demo", "--router", `slow=${adapter}`, "--scales", "0.5,1", ...small],
    ...["--cache-bias", "0.1", "--decode", "8", "--prompt-tokens", "8", "--out", json, "--html", html],
  ]);
  expect(compared.stderr).not.toContain("error");
  expect(compared.stdout).toContain("slow @0.5");
  expect(compared.stdout).toMatch(/pass {2}perplexity|FAIL {2}perplexity/);
  const result = JSON.parse(readFileSync(json, "utf8")) as EvaluationResult;
  expect(result.variants.map(({ name }) => name)).toEqual([
    ...["base", "noise floor", "slow @0.5", "slow @1", "cache-prior 0.1"],
  ]);
  expect(result.command).not.toContain(folder);
  const page = readFileSync(html, "utf8");
  for (const heading of ["Verdict", "Variants", "Curves", "Conditions for shipping", "How it was measured"])
    expect(page).toContain(`>${heading}</h2>`);
}, 60_000);

test("wrong usage is said before anything is computed", async () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["tune", "demo", ...small], "Say where the tuned routers go"],
    [["tune", "demo", ...small, "--out", "x.bin"], "name it .gguf"],
    [["tune", "demo", "--out", adapter], "No text"],
    [["tune", "demo", ...small, "--out", adapter, "--resume"], "give it with --checkpoint"],
    [["tune", "demo", ...small, "--out", adapter, "--lambda", "speed=1"], "weights from 0 on of trust"],
    [
      ["tune", "demo", ...small, "--out", adapter, "--method", "local", "--lambda", "balance=1"],
      "balance in --lambda needs --method full",
    ],
    [["tune", "demo", ...small, "--out", adapter, "--lambda", "reuse=1"], "closed-form has no weighted terms"],
    [["tune", "demo", ...small, "--out", adapter, "--kl-budget", "0.02"], "needs --method full"],
    [["tune", "demo", ...small, "--out", adapter, "--method", "full", "--kl-budget", "1"], "a task that distils"],
    [["tune", "eval", "demo", ...small], "Nothing to compare"],
    [["tune", "eval", "demo", ...small, "--router", adapter, adapter], "Two routers are called slow"],
  ];
  for (const [args, expected] of cases) {
    const { exitCode: code, stderr } = await warmset(args);
    expect({ args, code }).toEqual({ args, code: 2 });
    expect(stderr).toContain(expected);
  }
}, 60_000);

test("a text that is too short, and routers of another model, are errors with a way out", async () => {
  const out = path.join(folder, "none.gguf");
  const short = await warmset([
    "tune",
    "demo",
    ...small.slice(0, 2),
    "--sample-length",
    "64",
    "--samples",
    "1",
    "--out",
    out,
  ]);
  expect({ code: short.exitCode, stderr: short.stderr }).toMatchObject({
    stderr: expect.stringContaining("at least two documents"),
  });
  expect(existsSync(out)).toBe(false);
  const wrong = await warmset(["tune", "eval", "demo", "--router", text, ...small]);
  expect(wrong.exitCode).not.toBe(0);
  expect(wrong.stderr).toMatch(/^error: /m);
}, 60_000);
