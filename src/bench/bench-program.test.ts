import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { keepResult, textTable, wholeNumber } from "./bench-program.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-results-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a result replaces the one before and leaves nothing beside it", () => {
  const file = path.join(folder, "new/folder/memory.json");
  keepResult(file, { rows: [1] });
  keepResult(file, { rows: [1, 2] });
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ rows: [1, 2] });
  expect(readdirSync(path.dirname(file))).toEqual(["memory.json"]);
});

test("numbers of flags are whole and large enough", () => {
  expect(wholeNumber("--runs", "3", 1)).toBe(3);
  for (const text of ["", " ", "0", "1.5", "three", "-2"])
    expect(() => wholeNumber("--runs", text, 1)).toThrow(`--runs takes whole numbers from 1 on, not "${text}"`);
});

test("columns line up, the first one on the left", () => {
  expect(textTable(["what", "ms"], [["a", "1.5"]])).toBe("what   ms\na     1.5");
});
