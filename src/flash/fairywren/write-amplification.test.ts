import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { BlocksOnZones } from "../device/blocks-on-zones.ts";
import { MemoryZones } from "../device/memory-zones.test-data.ts";
import { PageMappedFtl } from "../device/page-mapped-ftl.ts";
import type { FlashEngine } from "../engine.ts";
import { openKangaroo } from "../kangaroo/kangaroo.ts";
import { hashKey } from "../key-hash.ts";
import { type FairywrenOptions, openFairywren } from "./fairywren.ts";

describe("write amplification of uniform keys, mean 246 bytes", () => {
  const DEVICE_BYTES = 8 * 2 ** 20;
  const PUBLISHED = 0.2;

  /** In the second half of `turns` device sizes of new objects. */
  async function amplification(engine: FlashEngine, turns: number): Promise<number> {
    const random = new Randomness(1);
    const name = new Uint8Array(16);
    const view = new DataView(name.buffer);
    const value = new Uint8Array(2048);
    let half = { deviceBytesWritten: 0, logicalBytes: 0 };
    for (let i = 0, bytes = 0; bytes < turns * DEVICE_BYTES; i++) {
      view.setUint32(0, i);
      // Log-normal with sigma 0.9, cut at 2,048 bytes, which takes 2 of its 248 bytes.
      const size = Math.round(Math.exp(Math.log(248) - 0.405 + 0.9 * random.normal()));
      await engine.put(hashKey(name), value.subarray(0, Math.min(2048, Math.max(20, size)) - 16));
      bytes += size;
      if (half.logicalBytes === 0 && bytes > (turns * DEVICE_BYTES) / 2) half = engine.stats();
    }
    const { deviceBytesWritten, logicalBytes } = engine.stats();
    return (deviceBytesWritten - half.deviceBytesWritten) / (logicalBytes - half.logicalBytes);
  }

  async function ofFairywren(options: FairywrenOptions): Promise<number> {
    const device = new MemoryZones({ zones: 256, zoneBytes: DEVICE_BYTES / 256 });
    return amplification(await openFairywren(device, options), 2);
  }

  it("is as published for fairywren, within a fifth and in the same order", async () => {
    const asBuilt = await ofFairywren({});
    const op20 = await ofFairywren({ overprovisioning: 0.2 });
    const op50 = await ofFairywren({ overprovisioning: 0.5 });
    const log20 = await ofFairywren({ logShare: 0.2 });
    expect(log20).toBeLessThan(op50);
    expect(op50).toBeLessThan(op20);
    expect(op20).toBeLessThan(asBuilt);
    for (const [ours, published] of [
      [asBuilt, 15.2],
      [op20, 9.29],
      [op50, 6.56],
      [log20, 4.12],
    ]) {
      expect(Math.abs(ours / published - 1)).toBeLessThan(PUBLISHED);
    }
  });

  it("of kangaroo is above that of overwritten sets alone on zones, and below it on blocks", async () => {
    const setsAlone = 4096 / 246;
    const zoneBytes = DEVICE_BYTES / 256;
    const log = () => new MemoryZones({ zones: 13, zoneBytes });
    const onZones = new BlocksOnZones(new MemoryZones({ zones: 243, zoneBytes }));
    expect(await amplification(await openKangaroo({ log: log(), sets: onZones }), 2)).toBeGreaterThan(setsAlone);
    const blocks = new PageMappedFtl({ blocks: onZones.blocks, overprovisioning: 0.2, eraseBlockPages: 16 });
    expect(await amplification(await openKangaroo({ log: log(), sets: blocks }), 2)).toBeLessThan(setsAlone);
  });
});
