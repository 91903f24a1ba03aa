import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { cutWindows, HeldOutTextTooShortError, readHeldOutTexts } from "./held-out.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-texts-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("the shipped texts are four domains", () => {
  const shipped = fileURLToPath(new URL("../../models/text", import.meta.url));
  expect(readHeldOutTexts([shipped]).map(({ domain }) => domain)).toEqual(["javascript", "math", "prose", "python"]);
});

test("folders that do not exist are passed over, and the first one with a domain gives its text", () => {
  for (const [name, text] of [
    ["a/prose.txt", "first"],
    ["b/prose.txt", "second"],
    ["b/c.txt", "int x;"],
    ["b/README.md", "no"],
  ]) {
    mkdirSync(path.join(folder, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  expect(readHeldOutTexts([path.join(folder, "none"), path.join(folder, "a"), path.join(folder, "b")])).toEqual([
    { domain: "c", text: "int x;" },
    { domain: "prose", text: "first" },
  ]);
});

test("windows share the forced tokens evenly and are runs of their text", () => {
  const options = fc.record({
    promptTokens: fc.integer({ min: 1, max: 64 }),
    decodeTokens: fc.integer({ min: 1, max: 2000 }),
    contextTokens: fc.integer({ min: 65, max: 512 }),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 13 }), options, (domains, wanted) => {
      const texts = Array.from({ length: domains }, (_, d) => ({
        domain: `d${d}`,
        tokens: Int32Array.from({ length: 600 + d }, (_, i) => 1000 * d + i),
      }));
      const windows = cutWindows(texts, wanted);
      expect(windows.map(({ domain }) => domain)).toEqual(texts.map(({ domain }) => domain));
      for (const [d, { tokens, promptTokens }] of windows.entries()) {
        expect(promptTokens).toBe(wanted.promptTokens);
        expect(tokens.length).toBeLessThanOrEqual(wanted.contextTokens);
        expect(tokens.length).toBe(windows[0].tokens.length);
        expect(tokens).toEqual(tokens.map((_, i) => tokens[0] + i));
        expect(Math.floor(tokens[0] / 1000)).toBe(d);
      }
      const forced = windows.reduce((sum, { tokens, promptTokens }) => sum + tokens.length - promptTokens, 0);
      const most = domains * (wanted.contextTokens - wanted.promptTokens);
      expect(forced).toBeGreaterThanOrEqual(Math.min(wanted.decodeTokens, most));
      expect(forced).toBeLessThan(wanted.decodeTokens + domains);
    }),
    { numRuns: 50 },
  );
});

test("only the first window has a long prompt where the others are wanted shorter", () => {
  const texts = ["a", "b", "c"].map((domain) => ({ domain, tokens: new Int32Array(100) }));
  const windows = cutWindows(texts, { promptTokens: 8, laterPromptTokens: 1, decodeTokens: 30 });
  expect(windows.map(({ promptTokens, tokens }) => [promptTokens, tokens.length - promptTokens])).toEqual([
    [8, 10],
    [1, 10],
    [1, 10],
  ]);
});

test("a text that is too short is refused by name", () => {
  const texts = [{ domain: "haiku", tokens: [1, 2, 3] }];
  expect(() => cutWindows(texts, { promptTokens: 2, decodeTokens: 2 })).toThrow(HeldOutTextTooShortError);
  expect(cutWindows(texts, { promptTokens: 2, decodeTokens: 1 })[0].tokens).toEqual([1, 2, 3]);
});
