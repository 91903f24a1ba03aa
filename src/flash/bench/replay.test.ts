import { expect, test } from "vitest";
import { FlashCache } from "../cache/flash-cache.ts";
import { SimulatedZns } from "../device/simulated-zns.ts";
import type { FlashEngine } from "../engine.ts";
import { openLogCache } from "../log-cache/log-cache.ts";
import { isSteady, type Reading, replay, turnBefore } from "./replay.ts";
import { namedStream, newObjects } from "./streams.ts";

const CACHE_BYTES = 4 * 2 ** 20;

async function logCache() {
  const device = new SimulatedZns({ zones: 16, zoneBytes: CACHE_BYTES / 16 });
  return { device, engine: await openLogCache(device) };
}

test("a stream goes through a cache to its steady state, and every byte is accounted for", async () => {
  const { device, engine } = await logCache();
  const cache = new FlashCache(engine, { ramBytes: 32 << 10 });
  const source = namedStream("nemo-mix-updates", { cacheBytes: CACHE_BYTES, seed: 1 });
  const turns: number[] = [];
  const { readings, steady, wrongValues, getUs } = await replay({
    ...{ cache, source, cacheBytes: CACHE_BYTES, mostTurns: 6, counters: () => device.counters },
    onProgress: (progress) => turns.push(progress.turns),
  });
  expect(steady).toBe(true);
  expect(wrongValues).toBe(0);
  expect(getUs.count).toBe(0);
  const last = readings[readings.length - 1];
  expect(last.turns).toBeGreaterThanOrEqual(3);
  expect(last.turns).toBeLessThan(6.5);
  expect(readings).toHaveLength(1 + Math.floor(last.turns * 4 + 1e-9));
  expect(last.hostBytes).toBe(device.counters.hostBytesWritten);
  expect(last.logicalBytes).toBe(cache.stats().engine.logicalBytes);
  expect(last.gets).toBe(cache.stats().gets);
  expect(last.turns - turnBefore(readings).turns).toBeCloseTo(1, 0);
  expect(turns.at(-1)).toBe(last.turns);
});

test("the same seed gives the same counts, also with requests side by side", async () => {
  const run = async (inFlight: number) => {
    const { device, engine } = await logCache();
    const { readings, getUs, putUs } = await replay({
      ...{ cache: new FlashCache(engine), source: newObjects(7), cacheBytes: CACHE_BYTES, mostTurns: 0.5 },
      ...{ counters: () => device.counters, inFlight, timed: inFlight > 1 },
    });
    const { requests, logicalBytes, hostBytes } = readings[readings.length - 1];
    return { requests, logicalBytes, hostBytes, timed: getUs.count + putUs.count };
  };
  const first = await run(1);
  expect(await run(1)).toEqual(first);
  const wide = await run(8);
  expect(wide).toMatchObject({ requests: first.requests, logicalBytes: first.logicalBytes });
  expect(wide.timed).toBe(first.requests);
});

test("an engine that answers with another key's value, or an old one, is found out", async () => {
  const wrongOf = async (spoil: (values: Uint8Array[]) => Uint8Array) => {
    const { device, engine } = await logCache();
    const values = new Map<number, Uint8Array[]>();
    const spoiled: FlashEngine = {
      ...{ name: engine.name, maxObjectBytes: engine.maxObjectBytes, stats: () => engine.stats() },
      ...{ flush: () => engine.flush(), close: () => engine.close() },
      delete: async (key) => {
        values.delete(key.low);
      },
      get: async (key) => {
        const known = values.get(key.low);
        return known === undefined ? undefined : Uint8Array.from(spoil(known));
      },
      put: (key, value) => {
        values.set(key.low, [...(values.get(key.low) ?? []), Uint8Array.from(value)]);
        return engine.put(key, value);
      },
    };
    const { wrongValues } = await replay({
      ...{ cache: new FlashCache(spoiled), counters: () => device.counters, cacheBytes: CACHE_BYTES, mostTurns: 0.3 },
      source: namedStream("nemo-mix-updates", { cacheBytes: CACHE_BYTES, seed: 1 }),
    });
    return wrongValues;
  };
  expect(await wrongOf((values) => values[values.length - 1])).toBe(0);
  expect(await wrongOf((values) => values[0])).toBeGreaterThan(0);
  expect(
    await wrongOf((values) => values[values.length - 1].map((byte, i) => (i < 4 ? byte ^ 1 : byte))),
  ).toBeGreaterThan(0);
});

test("steady is: three turns written and admitted, and a turn within 1 % of the one before", () => {
  const readings = (alwas: readonly number[]): Reading[] => {
    let hostBytes = 0;
    return [0, ...alwas].map((alwa, i) => {
      hostBytes += alwa * 25;
      return {
        ...{ turns: i / 4, logicalBytes: 25 * i, hostBytes, nandBytes: hostBytes, gets: 0, hits: 0 },
        ...{ engineGets: 0, engineHits: 0, pagesRead: 0, requests: 0, cpuMs: 0 },
      };
    });
  };
  const quarters = (count: number, alwa: number) => new Array<number>(count).fill(alwa);
  expect(isSteady(readings(quarters(12, 1.5)), 100)).toBe(true);
  expect(isSteady(readings(quarters(11, 1.5)), 100)).toBe(false);
  expect(isSteady(readings(quarters(12, 0.9)), 100)).toBe(false);
  expect(isSteady(readings([...quarters(8, 1.5), ...quarters(4, 1.52)]), 100)).toBe(false);
  expect(isSteady(readings([...quarters(8, 1.5), ...quarters(4, 1.51)]), 100)).toBe(true);
});

test("a signal ends it", async () => {
  const { device, engine } = await logCache();
  const controller = new AbortController();
  await expect(
    replay({
      ...{ cache: new FlashCache(engine), source: newObjects(1), cacheBytes: CACHE_BYTES, mostTurns: 100 },
      ...{ counters: () => device.counters, signal: controller.signal },
      onProgress: () => controller.abort(new Error("enough")),
    }),
  ).rejects.toThrow("enough");
});
