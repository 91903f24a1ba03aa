/** A job's process, with a program of the test's own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { runJobProcess } from "./job-process.ts";

const folder = mkdtempSync(path.join(tmpdir(), "jobs-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("runs from a folder with a space in its name", async () => {
  const program = path.join(folder, "my programs", "double.mjs");
  mkdirSync(path.dirname(program));
  writeFileSync(
    program,
    `process.once("message", ({ job }) =>
       process.send({ type: "done", outcome: 2 * job }, undefined, undefined, () => process.disconnect()));`,
  );
  expect(await runJobProcess(pathToFileURL(program), 21, { verbose: false, onEvent: () => {} })).toBe(42);
});
