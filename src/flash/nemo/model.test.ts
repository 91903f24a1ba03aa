import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { MemoryZones, type MemoryZonesOptions } from "../device/memory-zones.test-data.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { type HashedKey, hashKey } from "../key-hash.ts";
import type { NemoEngine } from "./engine.ts";
import { openNemo } from "./open.ts";
import type { NemoOptions } from "./options.ts";

/** Versions put under each key, newest last; undefined is a delete. What is allowed to be seen begins at `floor`. */
interface History {
  readonly versions: (string | undefined)[];
  floor: number;
}

function keyNumber(n: number): HashedKey {
  return hashKey(new TextEncoder().encode(`key ${n}`));
}

/** A value that tells its key and version, of a length that depends on both. */
function versionOf(n: number, version: number): Uint8Array {
  const text = `${n}:${version}`.padEnd(8 + ((n * 37 + version * 101) % 600), "x");
  return new TextEncoder().encode(text);
}

/** Drives an engine and a map that allows misses; `random` makes every choice. */
class ModelRun {
  readonly #random: Randomness;
  readonly #options: NemoOptions;
  readonly #keys: number;
  readonly histories = new Map<number, History>();
  readonly #geometry: { zones: number; zoneBytes: number };
  device: MemoryZones;
  engine!: NemoEngine;
  hits = 0;

  constructor(
    seed: number,
    options: NemoOptions,
    geometry = { zones: 9, zoneBytes: 6 * PAGE_BYTES },
    faults: Partial<MemoryZonesOptions> = {},
  ) {
    this.#random = new Randomness(seed);
    this.#options = options;
    this.#geometry = geometry;
    this.#keys = 60 + Math.floor(this.#random.next() * 300);
    this.device = new MemoryZones({ ...geometry, ...faults });
  }

  async open(): Promise<void> {
    this.engine = await openNemo(this.device, this.#options);
  }

  below(count: number): number {
    return Math.floor(this.#random.next() * count);
  }

  history(n: number): History {
    let history = this.histories.get(n);
    if (history === undefined) {
      history = { versions: [undefined], floor: 0 };
      this.histories.set(n, history);
    }
    return history;
  }

  async step(): Promise<void> {
    const n = this.below(this.#keys);
    const history = this.history(n);
    const what = this.#random.next();
    if (what < 0.45) await this.check(n);
    else if (what < 0.9) {
      const value = versionOf(n, history.versions.length);
      // Counted before the call: a kill may leave it on flash all the same.
      history.versions.push(new TextDecoder().decode(value));
      // Refused, it is not to be seen, and nor is what was there before.
      if (!(await this.engine.put(keyNumber(n), value))) history.versions[history.versions.length - 1] = undefined;
    } else if (what < 0.995) {
      history.versions.push(undefined);
      await this.engine.delete(keyNumber(n));
    } else await this.flush();
  }

  async flush(): Promise<void> {
    await this.engine.flush();
    for (const history of this.histories.values()) history.floor = history.versions.length - 1;
  }

  /** Nothing older than what was put last. */
  async check(n: number): Promise<void> {
    const history = this.history(n);
    const value = await this.engine.get(keyNumber(n));
    if (value === undefined) return;
    this.hits++;
    const text = new TextDecoder().decode(value);
    if (text !== history.versions.at(-1)) expect(text).toBe(history.versions.at(-1));
  }

  /** After a kill: nothing older than what was flushed last. What is seen is the newest from now on. */
  async checkAfterKill(): Promise<void> {
    for (const [n, history] of this.histories) {
      const value = await this.engine.get(keyNumber(n));
      if (value === undefined) continue;
      const seen = history.versions.lastIndexOf(new TextDecoder().decode(value));
      if (seen < history.floor) expect.fail(`key ${n}: version ${seen} after ${history.floor} was flushed`);
      this.hits++;
    }
  }

  async reopen(): Promise<void> {
    await this.engine.close();
    this.device = this.device.reopened();
    await this.open();
  }

  /** As a process finds it that opens the device after this one was killed. */
  async reopenAfterKill(faults: Omit<MemoryZonesOptions, "zones" | "zoneBytes"> = {}): Promise<void> {
    this.device = this.device.reopened(faults);
    await this.open();
  }

  get zoneCount(): number {
    return this.#geometry.zones;
  }
}

const VARIANTS: readonly NemoOptions[] = [
  { filterObjects: 20, groupSetGroups: 3, writeBack: "hot", flushThreshold: 0.5, checkpointZones: 2 },
  {
    filterObjects: 20,
    groupSetGroups: 2,
    writeBack: "hot-and-cold",
    flushThreshold: 1,
    hotness: 1,
    checkpointZones: 3,
  },
  { writeBack: "hot-and-cold", hotness: 0.5, indexCachedShare: 1, flushThreshold: 0.25, checkpointZones: 1 },
  { writeBack: "off", indexCachedShare: 0, groupSetGroups: 1, checkpointZones: 2, delayedFlush: false },
  { bufferedSetGroups: false, writeBack: "hot", groupSetGroups: 2, flushThreshold: 1, checkpointZones: 2 },
  // Filters that are wrong often: many pages read for nothing, many objects not written back.
  {
    filterObjects: 2,
    filterFalsePositives: 0.3,
    writeBack: "hot-and-cold",
    hotness: 1,
    groupSetGroups: 4,
    flushThreshold: 1,
  },
];

describe("nemo against a map that allows misses", () => {
  it("never answers with anything but the newest value, over flushes, evictions and clean reopens", async () => {
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 0, max: VARIANTS.length - 1 }), async (seed, variant) => {
        const run = new ModelRun(seed, VARIANTS[variant]);
        await run.open();
        for (let i = 0; i < 1500; i++) {
          await run.step();
          if (run.below(400) === 0) await run.reopen();
        }
        for (const n of run.histories.keys()) await run.check(n);
        hits += run.hits;
        const stats = run.engine.stats();
        expect(stats.readErrors).toBe(0);
        await run.engine.close();
      }),
      { numRuns: 30 },
    );
    expect(hits).toBeGreaterThan(5000);
  });

  it("and with many calls in flight at once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 0, max: VARIANTS.length - 1 }), async (seed, variant) => {
        const run = new ModelRun(seed, VARIANTS[variant]);
        await run.open();
        for (let i = 0; i < 120; i++) {
          // Each key once in a batch: two changes of one key at once have no order to check.
          const first = run.below(200);
          const batch = Array.from({ length: 24 }, async (_, j) => {
            const n = first + j;
            const history = run.history(n);
            if (run.below(3) === 0) return run.check(n);
            const value = versionOf(n, history.versions.length);
            history.versions.push(new TextDecoder().decode(value));
            expect(await run.engine.put(keyNumber(n), value)).toBe(true);
          });
          await Promise.all(batch);
        }
        for (const n of run.histories.keys()) await run.check(n);
        await run.engine.close();
      }),
      { numRuns: 15 },
    );
  });

  it("never goes back behind a flush after a kill at any byte", async () => {
    let hits = 0;
    let kills = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.integer({ min: 0, max: VARIANTS.length - 1 }),
        fc.boolean(),
        async (seed, variant, scatter) => {
          const random = new Randomness(seed, 1);
          const faults = () => ({
            stopAfterBytes: Math.floor(random.next() * 100 * PAGE_BYTES),
            ...(scatter ? { scatter: random } : {}),
          });
          const run = new ModelRun(seed, VARIANTS[variant], undefined, faults());
          await run.open();
          for (let life = 0; life < 4; life++) {
            try {
              for (let i = 0; i < 1200 && !run.device.stopped; i++) {
                await run.step();
                if (run.below(700) === 0) {
                  await run.engine.close();
                  if (!run.device.stopped) break;
                }
              }
            } catch (error) {
              // A flush or a delete that met the injected fault.
              if (!run.device.stopped) throw error;
            }
            kills += run.device.stopped ? 1 : 0;
            await run.reopenAfterKill(faults());
            await run.checkAfterKill();
            // What was lost may not come back: from here on the model starts with what is found.
            for (const [n, history] of run.histories) {
              const value = await run.engine.get(keyNumber(n));
              const seen = value === undefined ? undefined : new TextDecoder().decode(value);
              history.versions.push(seen);
            }
          }
          hits += run.hits;
        },
      ),
      { numRuns: 40 },
    );
    expect(kills).toBeGreaterThan(40);
    expect(hits).toBeGreaterThan(2000);
  });
});
