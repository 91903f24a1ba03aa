import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashKey } from "../key-hash.ts";
import {
  appendCopy,
  appendEntry,
  clearSet,
  ENTRY_BYTES,
  endOfEntries,
  entryBytes,
  entryCount,
  entryHigh,
  entryKey,
  entryLow,
  entrySpare,
  entryValue,
  findEntry,
  firstEntry,
  fits,
  isTombstone,
  MAX_OBJECT_BYTES,
  nextEntry,
  removeEntry,
  SET_BYTES,
  SET_CAPACITY,
  sameEntryKey,
  sealSet,
  sequenceHigh,
  sequenceLow,
  setEntrySpare,
  TOMBSTONE,
  usedBytes,
  verifySet,
} from "./set-page.ts";

const NOTHING = new Uint8Array(0);

function keyOf(text: string) {
  return hashKey(new TextEncoder().encode(text));
}

function textBytes(text: string) {
  return new TextEncoder().encode(text);
}

/** A set in the middle of a larger buffer of noise. */
function emptySet(setNumber = 7) {
  const bytes = new Uint8Array(3 * SET_BYTES).fill(0xee);
  clearSet(bytes, SET_BYTES, setNumber);
  return { bytes, at: SET_BYTES };
}

function keysIn(bytes: Uint8Array, at: number): string[] {
  const keys: string[] = [];
  for (let entry = firstEntry(at); entry < endOfEntries(bytes, at); entry = nextEntry(bytes, entry))
    keys.push(new TextDecoder().decode(entryKey(bytes, entry)));
  return keys;
}

describe("a set page", () => {
  it("keeps objects in the order they came, beside its neighbours", () => {
    const { bytes, at } = emptySet();
    for (const name of ["a", "bb", "ccc"]) expect(appendEntry(bytes, at, keyOf(name), textBytes(name))).toBe(true);
    expect(keysIn(bytes, at)).toEqual(["a", "bb", "ccc"]);
    expect(entryCount(bytes, at)).toBe(3);
    expect(usedBytes(bytes, at)).toBe(3 * ENTRY_BYTES + 12);
    expect(entryBytes(bytes, firstEntry(at))).toBe(ENTRY_BYTES + 2);
    expect(bytes.subarray(0, SET_BYTES).every((byte) => byte === 0xee)).toBe(true);
    expect(bytes.subarray(2 * SET_BYTES).every((byte) => byte === 0xee)).toBe(true);
  });

  it("finds the newest entry of a key, and tells equal hashes of different keys apart", () => {
    const { bytes, at } = emptySet();
    const key = keyOf("key");
    const twin = { ...key, bytes: textBytes("kez") };
    appendEntry(bytes, at, key, textBytes("old"));
    appendEntry(bytes, at, twin, textBytes("twin"));
    appendEntry(bytes, at, key, textBytes("new"));
    expect(entryValue(bytes, findEntry(bytes, at, key))).toEqual(textBytes("new"));
    expect(entryValue(bytes, findEntry(bytes, at, twin))).toEqual(textBytes("twin"));
    expect(findEntry(bytes, at, keyOf("none"))).toBe(-1);
    const offset = findEntry(bytes, at, key);
    expect([entryLow(bytes, offset), entryHigh(bytes, offset)]).toEqual([key.low, key.high]);
  });

  it("holds an object of the largest size and none above, an empty value and a key of one byte", () => {
    const { bytes, at } = emptySet();
    const key = keyOf("k");
    expect(appendEntry(bytes, at, key, new Uint8Array(MAX_OBJECT_BYTES))).toBe(false);
    expect(appendEntry(bytes, at, key, new Uint8Array(MAX_OBJECT_BYTES - 1))).toBe(true);
    expect(usedBytes(bytes, at)).toBe(SET_CAPACITY);
    expect(fits(bytes, at, 0)).toBe(false);
    sealSet(bytes, at, 1, 0);
    expect(verifySet(bytes, at, 7)).toBe(true);
    clearSet(bytes, at, 7);
    expect(appendEntry(bytes, at, key, NOTHING)).toBe(true);
    expect(entryValue(bytes, findEntry(bytes, at, key))).toHaveLength(0);
  });

  it("copies an entry with its flags and spare byte", () => {
    const { bytes, at } = emptySet();
    appendEntry(bytes, at, keyOf("gone"), NOTHING, TOMBSTONE);
    setEntrySpare(bytes, firstEntry(at), 6);
    clearSet(bytes, 0, 8);
    expect(appendCopy(bytes, 0, bytes, firstEntry(at))).toBe(true);
    const copy = findEntry(bytes, 0, keyOf("gone"));
    expect(isTombstone(bytes, copy)).toBe(true);
    expect(entrySpare(bytes, copy)).toBe(6);
    expect(sameEntryKey(bytes, firstEntry(at), bytes, copy)).toBe(true);
    appendEntry(bytes, 0, keyOf("gane"), NOTHING);
    expect(sameEntryKey(bytes, copy, bytes, nextEntry(bytes, copy))).toBe(false);
  });

  it("is found sound after sealing, and unsound under another number or with any bit flipped", () => {
    const { bytes, at } = emptySet(70_000);
    appendEntry(bytes, at, keyOf("one"), textBytes("value"));
    sealSet(bytes, at, 0xfffffffe, 3);
    expect(verifySet(bytes, at, 70_000)).toBe(true);
    expect([sequenceLow(bytes, at), sequenceHigh(bytes, at)]).toEqual([0xfffffffe, 3]);
    expect(verifySet(bytes, at, 70_001)).toBe(false);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: SET_BYTES * 8 - 1 }), (bit) => {
        bytes[at + (bit >> 3)] ^= 1 << (bit & 7);
        const sound = verifySet(bytes, at, 70_000);
        bytes[at + (bit >> 3)] ^= 1 << (bit & 7);
        return !sound;
      }),
    );
  });

  it("does not believe a checksum over entries that leave the page", () => {
    const { bytes, at } = emptySet();
    appendEntry(bytes, at, keyOf("one"), textBytes("value"));
    bytes[firstEntry(at) + 11] = 0xff;
    const sealed = bytes.slice();
    // Seal by hand what no engine writes: the walk must not be trusted to the checksum alone.
    sealed.fill(0, at + SET_BYTES - 100, at + SET_BYTES);
    sealSet(sealed, at, 0, 0);
    expect(verifySet(sealed, at, 7)).toBe(false);
  });

  it("never reads noise as a set", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: SET_BYTES, maxLength: SET_BYTES }), (noise) => !verifySet(noise, 0, 0)),
    );
  });

  it("behaves like a list of pairs under appends and removals", () => {
    const step = fc.record({
      name: fc.integer({ min: 0, max: 12 }),
      size: fc.integer({ min: 0, max: 900 }),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { bytes, at } = emptySet();
        const model: { name: string; size: number }[] = [];
        for (const { name, size, remove } of steps) {
          const key = keyOf(`key ${name}`);
          const last = model.findLastIndex((pair) => pair.name === `key ${name}`);
          const found = findEntry(bytes, at, key);
          expect(found >= 0).toBe(last >= 0);
          if (found >= 0) expect(entryValue(bytes, found)).toHaveLength(model[last].size);
          if (remove && found >= 0) {
            removeEntry(bytes, at, found);
            model.splice(last, 1);
          } else if (appendEntry(bytes, at, key, new Uint8Array(size))) model.push({ name: `key ${name}`, size });
        }
        expect(keysIn(bytes, at)).toEqual(model.map((pair) => pair.name));
        expect(entryCount(bytes, at)).toBe(model.length);
        sealSet(bytes, at, 1, 2);
        expect(verifySet(bytes, at, 7)).toBe(true);
      }),
    );
  });
});
