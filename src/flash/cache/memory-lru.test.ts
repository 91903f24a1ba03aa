import fc from "fast-check";
import { expect, test } from "vitest";
import { hashKey } from "../key-hash.ts";
import { MemoryLru } from "./memory-lru.ts";

const key = (text: string) => hashKey(new TextEncoder().encode(text));
const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill);

test("a value comes back whole at every length of key and value around the ends of chunks", () => {
  const lru = new MemoryLru(64 << 10);
  for (const keyBytes of [0, 1, 27, 28, 29, 31, 32, 33, 88, 92, 93, 153])
    for (const valueBytes of [0, 1, 32, 59, 60, 61, 120, 121, 2048]) {
      const name = hashKey(Uint8Array.from({ length: keyBytes }, (_, i) => i + 1));
      const value = Uint8Array.from({ length: valueBytes }, (_, i) => (i * 7 + keyBytes) & 255);
      expect(lru.set(name, value)).toBe(true);
      expect(lru.get(name)).toEqual(value);
    }
});

test("one array can be key and value", () => {
  const lru = new MemoryLru(4096);
  const both = Uint8Array.of(1, 2, 3);
  lru.set(hashKey(both), both);
  expect(lru.get(hashKey(both))).toEqual(both);
});

test("the least recently used leaves first, and a get counts as a use", () => {
  const lru = new MemoryLru(4096);
  const held = () => [..."abcdefghijklmnopqrst"].filter((name) => lru.get(key(name)) !== undefined).join("");
  for (const name of "abcdefgh") lru.set(key(name), bytes(300, 1));
  expect(lru.objects).toBe(8);
  lru.get(key("a"));
  for (const name of "klm") lru.set(key(name), bytes(300, 2));
  const left = held();
  expect(left).toContain("a");
  expect(left).not.toContain("b");
});

test("a value larger than the budget is refused, and takes the older value with it", () => {
  const lru = new MemoryLru(1024);
  expect(lru.set(key("a"), bytes(10, 1))).toBe(true);
  expect(lru.set(key("a"), bytes(2000, 2))).toBe(false);
  expect(lru.get(key("a"))).toBeUndefined();
});

test("without a budget nothing is kept", () => {
  const lru = new MemoryLru(0);
  expect(lru.set(key("a"), bytes(1, 1))).toBe(false);
  expect(lru.get(key("a"))).toBeUndefined();
  expect(lru.ramBytes).toBeLessThan(16);
  expect(() => new MemoryLru(-1)).toThrow(expect.objectContaining({ kind: "bad-options" }));
});

test("keys of one hash are told apart by their bytes", () => {
  const lru = new MemoryLru(4096);
  const [a, b] = ["a", "b"].map((text) => ({ ...key(text), low: 7, high: 9 }));
  lru.set(a, bytes(3, 1));
  lru.set(b, bytes(4, 2));
  expect(lru.get(a)).toEqual(bytes(3, 1));
  expect(lru.get(b)).toEqual(bytes(4, 2));
  expect(lru.delete(a)).toBe(true);
  expect(lru.get(b)).toEqual(bytes(4, 2));
});

/** Chunks of 64 bytes that an object of a key of 2 bytes takes. */
function chunksOf(valueBytes: number): number {
  return 1 + Math.max(0, Math.ceil((valueBytes + 2 - 32) / 60));
}

function usedChunks(plain: ReadonlyMap<string, number>): number {
  return [...plain.values()].reduce((sum, length) => sum + chunksOf(length), 0);
}

test("it holds exactly what a plain LRU of as many chunks holds, within its budget", () => {
  const call = fc.record({ op: fc.constantFrom("get", "set", "delete"), name: fc.nat(40), length: fc.nat(400) });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 200 }), fc.integer({ min: 300, max: 6000 }), (calls, budget) => {
      const lru = new MemoryLru(budget);
      expect(lru.ramBytes).toBeLessThanOrEqual(budget);
      expect(lru.ramBytes).toBeGreaterThan(0.9 * budget - 64);
      const chunks = lru.capacityBytes / 64;
      // Lengths of values, in order of use.
      const plain = new Map<string, number>();
      for (const { op, name, length } of calls) {
        const text = String(10 + name);
        const before = plain.get(text);
        if (op === "get") {
          expect(lru.get(key(text))?.length).toBe(before);
          if (before === undefined) continue;
          plain.delete(text);
          plain.set(text, before);
        } else if (op === "delete") {
          expect(lru.delete(key(text))).toBe(plain.delete(text));
        } else {
          plain.delete(text);
          const fits = chunksOf(length) <= chunks;
          expect(lru.set(key(text), bytes(length, name))).toBe(fits);
          if (fits) plain.set(text, length);
          for (const oldest of plain.keys()) {
            if (usedChunks(plain) <= chunks) break;
            plain.delete(oldest);
          }
        }
        expect(lru.objects).toBe(plain.size);
        expect(lru.usedBytes).toBe(64 * usedChunks(plain));
      }
      for (const [text, length] of plain) expect(lru.get(key(text))).toEqual(bytes(length, Number(text) - 10));
    }),
    { numRuns: 200 },
  );
});
