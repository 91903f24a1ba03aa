import { describe, expect, it } from "vitest";
import { MemoryZones } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { sealSet } from "../format/set-page.ts";
import { SetGroup } from "./set-group.ts";
import { SetGroupPool } from "./set-group-pool.ts";

describe("the pool of set groups", () => {
  it("reads a set of the very writing it knows of, and no other", async () => {
    const device = new MemoryZones({ zones: 2, zoneBytes: 4 * PAGE_BYTES });
    const group = new SetGroup(2);
    for (let s = 0; s < 2; s++) sealSet(group.bytes, group.at(s), 0, 7);
    await device.append(0, group.bytes);
    const pool = new SetGroupPool(device, { setGroups: 2 });
    pool.add(0, 7);
    const page = new Uint8Array(PAGE_BYTES);
    expect(await pool.readSet(0, 1, page)).toBe(true);
    // The same sequence number, begun again after a kill; and the next one to lie in that zone.
    pool.openings[0] = 8;
    expect(await pool.readSet(0, 1, page)).toBe(false);
    pool.openings[0] = 7;
    expect(await pool.readSet(2, 1, page)).toBe(false);
    // A page that the device does not give.
    expect(await pool.readSet(1, 1, page)).toBe(false);
  });

  it("counts what is in it as zones come round again", () => {
    const device = new MemoryZones({ zones: 2, zoneBytes: 4 * PAGE_BYTES });
    const pool = new SetGroupPool(device, { setGroups: 2 });
    expect(pool.isEmpty).toBe(true);
    pool.add(10, 1);
    pool.add(20, 1);
    expect([pool.isFull, pool.residentObjects()]).toEqual([true, 30]);
    pool.dropOldest();
    pool.add(5, 2);
    expect([pool.zoneOf(2), pool.residentObjects(), pool.oldest]).toEqual([0, 25, 1]);
  });
});
