/** Signals and closed pipes end a command quickly and cleanly: exit code, what happened so far, no process left. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { childrenOf, isRunning, STREAMING, type Started, said, start } from "./command-line.test-data.ts";

/** Goes on for many seconds unless it is stopped. */
const ENDLESS = [
  "run",
  "demo",
  ...STREAMING,
  "--raw",
  "--ignore-eos",
  "-c",
  "20000",
  "--seed",
  "1",
  "-p",
  "Once upon a time",
];

/** The model's process is there and text has come. */
async function running(args: readonly string[]): Promise<Started & { readonly host: number }> {
  const started = start(args, { env: { TMPDIR: temporary } });
  await said(started.child.stdout, " ");
  const [host, ...others] = childrenOf(started.child.pid as number);
  expect(others).toEqual([]);
  return { ...started, host };
}

/** Temporary files of a command go here, and here alone. */
const temporary = mkdtempSync(path.join(os.tmpdir(), "warmset-interruption-"));
afterAll(() => rmSync(temporary, { recursive: true }));

describe("run", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s stops the generation and tells what there was",
    async (signal) => {
      const { child, finished, host } = await running(ENDLESS);
      child.kill(signal);
      const { exitCode, stdout, stderr } = await finished;
      expect(exitCode).toBe(130);
      expect(stdout).toMatch(/\w+.*\n$/s);
      expect(stderr).toMatch(/speed .*tokens after a prompt of \d+; interrupted\n/);
      expect(isRunning(host)).toBe(false);
      expect(readdirSync(temporary)).toEqual([]);
    },
  );

  test("with --json the document is complete", async () => {
    const { child, finished } = start([...ENDLESS, "--json"]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    child.kill("SIGINT");
    const { exitCode, stdout, stderr } = await finished;
    expect(exitCode).toBe(130);
    expect(stderr).toBe("");
    const document = JSON.parse(stdout) as { stopReason: string; generatedTokens: number; tokens: number[] };
    expect(document).toMatchObject({ stopReason: "aborted" });
    expect(document.tokens.length).toBe(document.generatedTokens);
  });

  test("an interruption before the model is open leaves at once", async () => {
    const { child, finished } = start(ENDLESS);
    while (childrenOf(child.pid as number).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill("SIGINT");
    expect(await finished).toMatchObject({ exitCode: 130, stdout: "" });
  });

  test("the model's process ends when the command is killed", async () => {
    const { child, finished, host } = await running(ENDLESS);
    child.kill("SIGKILL");
    await finished;
    for (let i = 0; i < 100 && isRunning(host); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isRunning(host)).toBe(false);
  });

  test("a reader that has seen enough ends it without a word", async () => {
    const { child, finished, host } = await running(ENDLESS);
    child.stdout?.destroy();
    expect(await finished).toMatchObject({ exitCode: 0, signal: null, stderr: "" });
    expect(isRunning(host)).toBe(false);
  });
});

test("other commands survive a reader that has seen enough", async () => {
  const { child, finished } = start(["inspect", "demo", "--json"]);
  child.stdout?.destroy();
  expect(await finished).toMatchObject({ exitCode: 0, stderr: "" });
});
