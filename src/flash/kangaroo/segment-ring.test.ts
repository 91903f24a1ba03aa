import { describe, expect, it } from "vitest";
import { MemoryZones } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { entryValue, findEntry } from "../format/set-page.ts";
import { keyOf, versionedValue } from "./against-map.test-data.ts";
import { SegmentRing } from "./segment-ring.ts";

const ZONE_PAGES = 8;

describe("a ring of segments", () => {
  for (const segmentPages of [2, 3, ZONE_PAGES]) {
    it(`keeps every page until it is retired, over many rounds, in segments of ${segmentPages} pages`, async () => {
      const device = new MemoryZones({ zones: 5, zoneBytes: ZONE_PAGES * PAGE_BYTES });
      const ring = new SegmentRing(device, { zones: [1, 3, 4], segmentPages, freeShare: 0 });
      const alive = new Map<number, number>();
      const page = new Uint8Array(PAGE_BYTES);
      for (let number = 0; number < 1500; number++) {
        let at = ring.append(keyOf(number), versionedValue(number, 1, 700), 0);
        if (at < 0) {
          await ring.write();
          while (ring.full) {
            for (const [known, where] of alive)
              if (where >= ring.oldestPage && where < ring.oldestPage + segmentPages) alive.delete(known);
            ring.retireOldest();
          }
          let right = 0;
          for (const [known, where] of alive) {
            if (ring.inBuffer(where) !== -1 || !(await ring.read(where, page))) continue;
            const value = entryValue(page, findEntry(page, 0, keyOf(known)));
            if (Buffer.compare(value, versionedValue(known, 1, 700)) === 0) right++;
          }
          expect(right).toBe(alive.size);
          at = ring.append(keyOf(number), versionedValue(number, 1, 700), 0);
        }
        expect(findEntry(ring.buffer, ring.inBuffer(at), keyOf(number))).toBeGreaterThan(0);
        alive.set(number, at);
      }
      expect(device.counters.resets).toBeGreaterThan(10);
      expect([device.written(0), device.written(2)]).toEqual([0, 0]);
    });
  }

  it("refuses to be of too few segments", () => {
    const device = new MemoryZones({ zones: 5, zoneBytes: ZONE_PAGES * PAGE_BYTES });
    const bad = expect.objectContaining({ kind: "bad-options" });
    expect(() => new SegmentRing(device, { zones: [0, 1], segmentPages: ZONE_PAGES, freeShare: 0 })).toThrow(bad);
    expect(() => new SegmentRing(device, { zones: [0, 1], segmentPages: ZONE_PAGES + 1, freeShare: 0 })).toThrow(bad);
    expect(() => new SegmentRing(device, { zones: [0, 1], segmentPages: 2, freeShare: 0.9 })).toThrow(bad);
  });
});
