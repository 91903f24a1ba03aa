import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { loadDemoModel } from "./demo-model.test-data.ts";
import { TokenDecoder } from "./vocabulary.ts";

const model = loadDemoModel();
const { vocabulary } = model;
afterAll(() => model.dispose());

/** Any text, with emoji of several bytes and code points made likely. */
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc
    .array(fc.constantFrom("🙂", "👩‍👩‍👧", "é", "ß", "日本", "\ufeff", "\0", " ", "\r\n", "<|end|>", "12", "a"))
    .map((parts) => parts.join("")),
);

describe("Vocabulary", () => {
  it("knows the demo model's special tokens", () => {
    expect(vocabulary).toMatchObject({ size: 4096, bos: 4092, eos: 4092, eot: 4095, addsBos: false, addsEos: false });
    expect(vocabulary.spelling(4095)).toBe("<|end|>");
    expect([4092, 4095].every((token) => vocabulary.isEndOfGeneration(token))).toBe(true);
    expect(vocabulary.isEndOfGeneration(4093)).toBe(false);
    expect(vocabulary.isControl(4093)).toBe(true);
    expect(vocabulary.isControl(100)).toBe(false);
  });

  it("parses control tokens only when told to", () => {
    expect([...vocabulary.tokenize("<|end|>", { parseSpecial: true })]).toEqual([4095]);
    const plain = vocabulary.tokenize("<|end|>");
    expect(plain.length).toBeGreaterThan(1);
    expect(vocabulary.detokenize(plain)).toBe("<|end|>");
    expect(vocabulary.detokenize([4095])).toBe("");
    expect(vocabulary.detokenize([4095], { special: true })).toBe("<|end|>");
    expect(vocabulary.tokenize("")).toHaveLength(0);
  });

  it("gives back any text that it tokenised", () => {
    fc.assert(
      fc.property(text, (original) => {
        const tokens = vocabulary.tokenize(original);
        expect(vocabulary.detokenize(tokens)).toBe(original);
        const bytes = Buffer.concat([...tokens].map((token) => vocabulary.piece(token)));
        expect(bytes.equals(Buffer.from(original))).toBe(true);
      }),
      { examples: [[" ,"], ["it 's ."]] },
    );
  });

  it("gives pieces as bytes, plain and special", () => {
    expect(vocabulary.piece(4095)).toHaveLength(0);
    expect(Buffer.from(vocabulary.piece(4095, { special: true })).toString()).toBe("<|end|>");
    expect(vocabulary.piece(3170)).toBe(vocabulary.piece(3170));
    for (const token of [-1, 4096, 0.5, Number.NaN]) expect(() => vocabulary.piece(token)).toThrow(RangeError);
  });
});

describe("TokenDecoder", () => {
  const stream = (tokens: Iterable<number>) => {
    const decoder = new TokenDecoder(vocabulary);
    return [...[...tokens].map((token) => decoder.push(token)), decoder.flush()];
  };

  it("streams any text in whole characters", () => {
    fc.assert(
      fc.property(text, (original) => {
        const parts = stream(vocabulary.tokenize(original));
        expect(parts.join("")).toBe(original);
        for (const part of parts) {
          expect(Buffer.from(part).toString()).toBe(part); // no half of a surrogate pair
          if (!original.includes("\ufffd")) expect(part).not.toContain("\ufffd");
        }
      }),
    );
  });

  it("holds a character back until its last byte came", () => {
    const tokens = vocabulary.tokenize("🙂");
    expect(tokens.length).toBeGreaterThan(1); // else this test shows nothing
    const parts = stream(tokens);
    expect(parts.slice(0, -2).join("")).toBe("");
    expect(parts.slice(-2)).toEqual(["🙂", ""]);
  });

  it("shows a character that stays incomplete as one replacement, and can go on", () => {
    const decoder = new TokenDecoder(vocabulary);
    const [first] = vocabulary.tokenize("🙂");
    expect(decoder.push(first)).toBe("");
    expect(decoder.flush()).toBe("\ufffd");
    expect([...vocabulary.tokenize("ja")].map((token) => decoder.push(token)).join("") + decoder.flush()).toBe("ja");
  });

  it("leaves control tokens out, or shows them", () => {
    expect(stream([3170, 4095]).join("")).toBe("Once");
    const decoder = new TokenDecoder(vocabulary, { special: true });
    expect(decoder.push(4095)).toBe("<|end|>");
  });
});
