import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { sealPage, verifyPage } from "./sealed-page.ts";
import { readFrame, sameParameters, writeFrame, type ZoneFrame } from "./zone-frame.ts";

const FRAME: ZoneFrame = {
  kind: "index",
  salt: 0x80000001,
  sequence: 0xfffffff0,
  opening: 9,
  objects: 123_456,
  parameters: { sets: 275_710, setGroups: 350, filterBytes: 36, filterHashes: 10, groupSetGroups: 113 },
};

describe("a zone's frame", () => {
  it("comes back as it was written, and a header is no footer", () => {
    const bytes = new Uint8Array(3 * PAGE_BYTES);
    writeFrame(bytes, PAGE_BYTES, "header", FRAME);
    writeFrame(bytes, 2 * PAGE_BYTES, "footer", FRAME);
    expect(readFrame(bytes, PAGE_BYTES, "header")).toEqual(FRAME);
    expect(readFrame(bytes, 2 * PAGE_BYTES, "footer")).toEqual(FRAME);
    expect(readFrame(bytes, PAGE_BYTES, "footer")).toBeUndefined();
    expect(readFrame(bytes, 2 * PAGE_BYTES + 1, "footer")).toBeUndefined();
  });

  it("is refused with any bit flipped", () => {
    const bytes = new Uint8Array(PAGE_BYTES);
    writeFrame(bytes, 0, "header", FRAME);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: PAGE_BYTES * 8 - 1 }), (bit) => {
        bytes[bit >> 3] ^= 1 << (bit & 7);
        const read = readFrame(bytes, 0, "header");
        bytes[bit >> 3] ^= 1 << (bit & 7);
        return read === undefined;
      }),
    );
  });

  it("tells parameters apart", () => {
    expect(sameParameters(FRAME.parameters, { ...FRAME.parameters })).toBe(true);
    expect(sameParameters(FRAME.parameters, { ...FRAME.parameters, filterBytes: 72 })).toBe(false);
  });
});

describe("a sealed page", () => {
  it("is its kind's, owner's and place's alone", () => {
    const bytes = new Uint8Array(PAGE_BYTES).fill(7);
    sealPage(bytes, 0, "index", 3, 70_000);
    expect(verifyPage(bytes, 0, "index", 3, 70_000)).toBe(true);
    expect(verifyPage(bytes, 0, "index", 4, 70_000)).toBe(false);
    expect(verifyPage(bytes, 0, "index", 3, 70_001)).toBe(false);
    expect(verifyPage(bytes, 0, "checkpoint", 3, 70_000)).toBe(false);
    bytes[0] ^= 1;
    expect(verifyPage(bytes, 0, "index", 3, 70_000)).toBe(false);
  });
});
