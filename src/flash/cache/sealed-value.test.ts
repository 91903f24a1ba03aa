import fc from "fast-check";
import { expect, test } from "vitest";
import { MOST_SEAL_BYTES, openValue, saltOf, sealValue } from "./sealed-value.ts";
import { ValueMemory } from "./value-memory.ts";

const memory = new ValueMemory();
const value = fc.uint8Array({ maxLength: 40 });

test("a value comes back under its own salt until it expires, and under no other", () => {
  const time = fc.option(fc.nat({ max: 2 ** 47 }), { nil: undefined });
  fc.assert(
    fc.property(value, fc.string(), fc.string(), time, (plain, salt, other, expires) => {
      const sealed = sealValue(plain, saltOf(salt), expires, memory);
      expect(sealed.length - plain.length).toBeLessThanOrEqual(MOST_SEAL_BYTES);
      expect(openValue(sealed, saltOf(salt), () => (expires ?? 1) - 1)).toEqual(plain);
      if (expires !== undefined) expect(openValue(sealed, saltOf(salt), () => expires)).toBe("expired");
      if (other !== salt) expect(openValue(sealed, saltOf(other), () => 0)).toBe(expires === 0 ? "expired" : "foreign");
    }),
  );
});

test("bytes that were never sealed are no value", () => {
  fc.assert(
    fc.property(value, (bytes) => {
      const opened = openValue(bytes, saltOf("mine"));
      if (typeof opened !== "string") expect(bytes.at(-1)).toBeLessThan(4);
    }),
  );
  expect(openValue(new Uint8Array(0), saltOf(""))).toBe("foreign");
  expect(openValue(Uint8Array.of(3), saltOf(""))).toBe("foreign");
});

test("a plain value costs one byte", () => {
  expect(sealValue(new Uint8Array(9), saltOf(""), undefined, memory).length).toBe(10);
});
