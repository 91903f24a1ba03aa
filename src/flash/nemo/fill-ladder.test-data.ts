/**
 * How full a set group is when it is written, under each of Nemo's two measures and both: the real engine on a device that keeps
 * nothing, fed with new keys alone. An experiment with known answers (the Nemo paper's Fig. 17, and Monte-Carlo of our own).
 */
import { Randomness } from "../../predict/randomness.ts";
import { noCounters, PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FRAME_PAGES } from "../format/zone-frame.ts";
import type { HashedKey } from "../key-hash.ts";
import type { NemoEngine } from "./engine.ts";
import { openNemo } from "./open.ts";

/** Zones enough for a pool and its index; what is in them does not matter. */
const ZONES = 4;
const KEY_BYTES = 16;

export interface FillRung {
  readonly name: "naive" | "buffered" | "delayed" | "both";
  /** Bytes of new entries over bytes of their sets, mean of the flushes counted. */
  readonly fill: number;
  /** Objects dropped to delay flushes, as a share of the puts. */
  readonly sacrificedShare: number;
}

export interface FillLadderOptions {
  /** Sets per set group. */
  readonly sets: number;
  /** Of the log-normal object sizes: standard deviation of the logarithm; 0 is one size for all. */
  readonly sigma: number;
  /** Mean of key + value bytes before clipping to 20 to 2,048. @default 246 */
  readonly meanBytes?: number;
  /** Puts that may fail per flush. @default 1.5 % of the sets */
  readonly allowedFailures?: number;
  /** Flushes counted, after the first two, which start from empty set groups. @default 6 */
  readonly flushes?: number;
  /** @default 1 */
  readonly seed?: number;
}

export async function fillRung(name: FillRung["name"], options: FillLadderOptions): Promise<FillRung> {
  const { sets, sigma, meanBytes = 246, allowedFailures, flushes = 6, seed = 1 } = options;
  const engine = await openNemo(new ForgetfulZones(sets), {
    bufferedSetGroups: name === "buffered" || name === "both",
    delayedFlush: name === "delayed" || name === "both",
    ...(allowedFailures === undefined ? {} : { flushThreshold: allowedFailures / sets }),
    ...{ writeBack: "off", indexCachedShare: 0, hotness: 0, checkpointZones: 0 },
  });
  const objects = new NewObjects(seed, meanBytes, sigma);
  await putUntil(engine, objects, 2);
  const before = engine.stats();
  await putUntil(engine, objects, 2 + flushes);
  const after = engine.stats();
  await engine.close();
  return {
    name,
    fill: (after.freshBytes - before.freshBytes) / (flushes * sets * PAGE_BYTES),
    sacrificedShare: (after.fates.sacrificed - before.fates.sacrificed) / (after.puts - before.puts),
  };
}

async function putUntil(engine: NemoEngine, objects: NewObjects, flushes: number): Promise<void> {
  while (engine.stats().setGroupsWritten < flushes)
    for (let i = 0; i < 20; i++) await engine.put(objects.nextKey(), objects.value());
}

/** Keys that were never seen, with uniform hashes, and values of log-normal sizes. */
class NewObjects {
  readonly #random: Randomness;
  readonly #sigma: number;
  readonly #mu: number;
  readonly #key = new Uint8Array(KEY_BYTES);
  readonly #zeros = new Uint8Array(2048);
  #count = 0;

  constructor(seed: number, meanBytes: number, sigma: number) {
    this.#random = new Randomness(seed);
    this.#sigma = sigma;
    this.#mu = Math.log(meanBytes) - sigma ** 2 / 2;
  }

  nextKey(): HashedKey {
    new DataView(this.#key.buffer).setFloat64(0, ++this.#count);
    const half = () => Math.floor(this.#random.next() * 2 ** 32);
    return { bytes: this.#key, low: half(), high: half() };
  }

  value(): Uint8Array {
    const bytes = Math.round(Math.exp(this.#mu + this.#sigma * this.#random.normal()));
    return this.#zeros.subarray(0, Math.min(Math.max(bytes, 20), 2048) - KEY_BYTES);
  }
}

/** Takes everything and remembers nothing; nobody reads. */
class ForgetfulZones implements ZoneDevice {
  readonly zones = ZONES;
  readonly zoneBytes: number;
  readonly counters = noCounters();

  constructor(sets: number) {
    this.zoneBytes = (sets + FRAME_PAGES) * PAGE_BYTES;
  }

  async append(_zone: number, bytes: Uint8Array): Promise<void> {
    this.counters.hostBytesWritten += bytes.length;
  }

  async read(): Promise<Uint8Array> {
    throw new Error("a device that keeps nothing was read");
  }

  async reset(): Promise<void> {}
  async sync(): Promise<void> {}
  async close(): Promise<void> {}

  written(): number {
    return 0;
  }
}
