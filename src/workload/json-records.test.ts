import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonRecords } from "./json-records.ts";

function cut(text: string | Uint8Array, chunkBytes = 1 << 20) {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  const records = new JsonRecords();
  const found = [];
  for (let at = 0; at < bytes.length; at += chunkBytes)
    // The chunk is overwritten afterwards, as a reader may.
    for (const record of pushed(records, new Uint8Array(bytes.subarray(at, at + chunkBytes)))) found.push(record);
  found.push(...records.end());
  return found.map(({ line, bytes, problem }) => ({ line, text: Buffer.from(bytes).toString(), problem }));
}

function pushed(records: JsonRecords, chunk: Uint8Array) {
  const found = [...records.push(chunk)];
  chunk.fill(0x22);
  return found;
}

const record = fc.record({ id: fc.string({ unit: "grapheme" }), list: fc.array(fc.jsonValue(), { maxLength: 3 }) });
const chunk = fc.integer({ min: 1, max: 50 });

describe("records of random content, whatever the chunks are", () => {
  test("on lines", () => {
    fc.assert(
      fc.property(fc.array(record), chunk, fc.boolean(), (documents, chunkBytes, windows) => {
        const text = documents.map((document) => JSON.stringify(document)).join(windows ? "\r\n" : "\n");
        const found = cut(text, chunkBytes);
        expect(found.map(({ text }) => JSON.parse(text))).toEqual(documents.map((d) => JSON.parse(JSON.stringify(d))));
        expect(found.map(({ line }) => line)).toEqual(documents.map((_, i) => i + 1));
      }),
    );
  });

  test("in a list, on one line or many", () => {
    fc.assert(
      fc.property(fc.array(record), chunk, fc.constantFrom(0, 2), (documents, chunkBytes, indent) => {
        const text = JSON.stringify(documents, undefined, indent);
        const found = cut(text, chunkBytes);
        expect(found.map(({ text }) => JSON.parse(text))).toEqual(JSON.parse(text));
        if (indent === 0) expect(found.every(({ line }) => line === 1)).toBe(true);
        for (const { line } of found) if (indent > 0) expect(text.split("\n")[line - 1]).toBe("  {");
      }),
    );
  });
});

test("blank lines, a byte order mark and spaces in front count as lines but are no records", () => {
  const mark = "\uFEFF";
  expect(cut(`${mark}\n\n {"a":1}\n \t\n{"b":2}\n\n`).map(({ line, text }) => [line, text.trim()])).toEqual([
    [3, '{"a":1}'],
    [5, '{"b":2}'],
  ]);
  expect(cut(`${mark}\n [\n{"a":1},\n\n {"b":2},\n]\n`).map(({ line, text }) => [line, text.trim()])).toEqual([
    [3, '{"a":1}'],
    [5, '{"b":2}'],
  ]);
  expect(cut("  \n ")).toEqual([]);
  expect(cut("[]")).toEqual([]);
});

describe("a list that is broken", () => {
  test.each([
    ["in the middle of a record", '[\n{"a":1},\n{"b":', 3, "incomplete"],
    ["between records", '[\n{"a":1},\n', 3, "incomplete"],
    ["by a missing quote", '[\n{"a":1},\n{"b":"x},\n{"c":1}]', 3, "incomplete"],
    ["by a bracket too many", '[\n{"a":1}},\n{"b":2}]', 2, "behind the end"],
    ["by more behind it", '[\n{"a":1}\n]\n{"b":2}', 4, "behind the end"],
  ])("%s says where, after its whole records", (_, text, line, message) => {
    for (const chunkBytes of [1, 1000]) {
      const found = cut(text, chunkBytes);
      expect(JSON.parse(found[0].text)).toEqual({ a: 1 });
      expect(found.at(-1)).toMatchObject({ line, problem: { text: expect.stringContaining(message), isEnd: true } });
      expect(found).toHaveLength(2);
    }
  });
});

test("a record of many megabytes is not kept; on lines the next ones are found", () => {
  const long = `{"a":"${"x".repeat(17 * 2 ** 20)}"}`;
  const lines = cut(`${long}\n{"b":2}\n`, 2 ** 20);
  expect(lines).toMatchObject([
    { line: 1, text: "", problem: { text: expect.stringContaining("16 MiB"), isEnd: false } },
    { line: 2, text: '{"b":2}' },
  ]);
  expect(cut(`[${long}, {"b":2}]`, 2 ** 20)).toMatchObject([{ line: 1, problem: { isEnd: true } }]);
});
