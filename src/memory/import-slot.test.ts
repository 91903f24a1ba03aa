import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findLibraries } from "../llama/index.ts";
import { findImportSlot } from "./import-slot.ts";

const elf = readFileSync(findLibraries().llama);
const PROGRAM_HEADERS_AT = 64;

describe.runIf(process.platform === "linux")("the import slots of libllama", () => {
  test("are found for what it imports, each its own and aligned", () => {
    const slots = ["mmap", "posix_madvise", "posix_fadvise"].map((symbol) => findImportSlot(elf, symbol));
    for (const slot of slots) expect(slot).toBeGreaterThan(0);
    expect(new Set(slots).size).toBe(3);
    for (const slot of slots) expect((slot as number) % 8).toBe(0);
  });

  test("are not found for what it does not import", () => {
    expect(findImportSlot(elf, "no_such_function")).toBeUndefined();
    expect(findImportSlot(elf, "")).toBeUndefined();
  });
});

describe("a file that is no sound library", () => {
  test("has no slot", () => {
    expect(findImportSlot(Buffer.alloc(0), "mmap")).toBeUndefined();
    expect(findImportSlot(Buffer.from("#!/bin/sh\n".padEnd(200)), "mmap")).toBeUndefined();
    for (const length of [16, 63, 64, 100, 1000, 5000, 100_000])
      expect(() => findImportSlot(elf.subarray(0, length), "mmap")).not.toThrow();
  });

  test("is never read outside its bytes, whatever its headers say", () => {
    // The file header, the program headers and the dynamic section decide where everything else is looked for.
    const programHeaders = Number(elf.readBigUInt64LE(32));
    const headersEnd = programHeaders + elf.readUInt16LE(56) * 56;
    const dynamicAt = dynamicSection(programHeaders);
    const place = fc.oneof(
      fc.integer({ min: 4, max: PROGRAM_HEADERS_AT - 1 }),
      fc.integer({ min: programHeaders, max: headersEnd - 1 }),
      fc.integer({ min: dynamicAt, max: dynamicAt + 500 }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 }),
        (changes) => {
          const before = changes.map(([at]) => elf[at]);
          for (const [at, value] of changes) elf[at] = value;
          try {
            const slot = findImportSlot(elf, "mmap");
            expect(slot === undefined || Number.isFinite(slot)).toBe(true);
          } finally {
            for (const [i, [at]] of [...changes.entries()].reverse()) elf[at] = before[i];
          }
        },
      ),
      { numRuns: 1000 },
    );
    expect(findImportSlot(elf, "mmap")).toBeGreaterThan(0);
  });
});

function dynamicSection(programHeaders: number): number {
  for (let at = programHeaders; ; at += 56) if (elf.readUInt32LE(at) === 2) return Number(elf.readBigUInt64LE(at + 8));
}
