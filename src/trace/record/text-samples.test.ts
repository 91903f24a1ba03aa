import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DEMO_MODEL, loadDemoModel } from "../../llama/demo-model.test-data.ts";
import { checkTextFile, domainOf, sampleText } from "./text-samples.ts";

const folder = mkdtempSync(join(tmpdir(), "text-samples-"));
const model = loadDemoModel();
const { vocabulary } = model;
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true });
});

const PROSE = join(DEMO_MODEL, "../text/prose.txt");
const proseTokens = vocabulary.tokenize(readFileSync(PROSE, "utf8"), { addSpecial: false });

function file(name: string, content: string | Uint8Array): { path: string } {
  const path = join(folder, name);
  writeFileSync(path, content);
  return { path };
}

describe("samples of a text", () => {
  test("are its tokens in order, without gaps, up to the last whole one", () => {
    const text = sampleText({ path: PROSE }, vocabulary, { stride: 512, length: 512 });
    expect(text.samples).toBe(Math.floor(proseTokens.length / 512));
    for (let i = 0; i < text.samples; i++) expect(text.sample(i)).toEqual(proseTokens.slice(i * 512, (i + 1) * 512));
    expect(text.unusedTokens).toBe(proseTokens.length % 512);
    expect(text.domain).toBe("prose");
  });

  test("begin with BOS where the model wants it, which takes the place of a token", () => {
    const text = sampleText({ path: PROSE }, vocabulary, { stride: 100, length: 100, samples: 3, bos: 4092 });
    expect(text.samples).toBe(3);
    expect(text.unusedTokens).toBe(0);
    for (let i = 0; i < 3; i++)
      expect(Array.from(text.sample(i))).toEqual([4092, ...proseTokens.slice(i * 99, (i + 1) * 99)]);
  });

  test("may be the beginnings of what lies between their starts", () => {
    const text = sampleText({ path: PROSE }, vocabulary, { stride: 1000, length: 10 });
    expect(text.samples).toBe(Math.floor((proseTokens.length - 10) / 1000) + 1);
    expect(text.sample(2)).toEqual(proseTokens.slice(2000, 2010));
    // A text that is shorter than the distance has one.
    expect(sampleText(file("short", "One sentence."), vocabulary, { stride: 1000, length: 2 }).samples).toBe(1);
  });

  test("of a text of many pieces are those of the whole text", () => {
    const line = "A line of some words, число 42 and 😀 too.\n";
    const whole = line.repeat(60_000);
    expect(Buffer.byteLength(whole)).toBeGreaterThan(2.5e6);
    const tokens = vocabulary.tokenize(whole, { addSpecial: false });
    const text = sampleText(file("long", whole), vocabulary, { stride: 4096, length: 4096 });
    expect(text.samples).toBe(Math.floor(tokens.length / 4096));
    expect(text.unusedTokens).toBe(tokens.length % 4096);
    for (let i = 0; i < text.samples; i += 17) expect(text.sample(i)).toEqual(tokens.slice(i * 4096, (i + 1) * 4096));
  });

  test("survive a text without line ends, cut between characters", () => {
    const whole = "😀é".repeat(400_000);
    const text = sampleText(file("one-line", whole), vocabulary, { stride: 1024, length: 1024 });
    const ids = Array.from({ length: text.samples }, (_, i) => Array.from(text.sample(i))).flat();
    expect(vocabulary.detokenize(ids)).toBe(whole.slice(0, vocabulary.detokenize(ids).length));
  });

  test("have a hash that tells other samples apart", () => {
    const hash = (length: number, samples: number) =>
      sampleText({ path: PROSE }, vocabulary, { stride: length, length, samples }).hash;
    expect(hash(64, 5)).toBe(hash(64, 5));
    expect(new Set([hash(64, 5), hash(64, 6), hash(63, 5)]).size).toBe(3);
  });
});

describe("texts that have no samples", () => {
  const cut = { stride: 64, length: 64 };

  test.each([
    ["empty", "", "empty-text", "has no text"],
    ["short", "Two words", "short-text", "or a sample length of at most"],
    ["binary", Uint8Array.of(0x41, 0xff, 0xfe), "not-utf8", "is not UTF-8"],
    ["half", Uint8Array.of(0x41, 0xe2, 0x82), "not-utf8", "is not UTF-8"],
  ])("%s", (name, content, kind, message) => {
    expect(() => sampleText(file(name, content), vocabulary, cut)).toThrow(
      expect.objectContaining({ name: "RecordingInputError", kind, message: expect.stringContaining(message) }),
    );
  });

  test("missing, or a folder", () => {
    for (const path of [join(folder, "nothing"), folder]) {
      const unreadable = expect.objectContaining({ kind: "unreadable-text", message: expect.stringContaining(path) });
      expect(() => sampleText({ path }, vocabulary, cut)).toThrow(unreadable);
      expect(() => checkTextFile({ path })).toThrow(unreadable);
    }
    checkTextFile({ path: PROSE });
  });
});

test("a domain is the file's name unless it is said", () => {
  expect(domainOf({ path: "/a/b/code.python.txt" })).toBe("code.python");
  expect(domainOf({ path: "notes" })).toBe("notes");
  expect(domainOf({ path: "/a/code.txt", domain: "c" })).toBe("c");
});
