/**
 * How fast nemo is on a real file, beside what the drive itself does in the same run: sets, gets from RAM, and gets from flash with
 * several in flight. One thread; loads native code through the file device.
 */
import path from "node:path";
import { setImmediate as nextTick } from "node:timers/promises";
import { median } from "../../bench/quantile.ts";
import { Randomness } from "../../predict/randomness.ts";
import { FlashCache } from "../cache/flash-cache.ts";
import {
  type DeviceFigures,
  type MeasureBurstsOptions,
  measureBursts,
  measureDevice,
} from "../device/measure-device.ts";
import { openNemo } from "../nemo/open.ts";
import type { NemoOptions } from "../nemo/options.ts";
import { createEventBatch } from "../workload/event-batch.ts";
import { freshHigh, writeKey } from "../workload/key-bytes.ts";
import { LatencyHistogram } from "./latency-histogram.ts";
import type { SpeedRow } from "./results.ts";
import { newObjects } from "./streams.ts";
import { Devices } from "./subjects.ts";
import { SPEED } from "./targets.ts";
import { TimedZones } from "./timed-zones.ts";

export interface SpeedOptions {
  /** To make and to remove, on the drive in question. */
  readonly file: string;
  readonly cacheBytes: number;
  readonly zoneBytes: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onMessage?: (message: string) => void;
}

const IN_FLIGHT = [16, 64];
/** Of each measurement, and how many there are of what is held against the device. */
const SECONDS = 2;
const ROUNDS = 3;
/** Of gets that are not counted: the code is compiled while it runs, which alone doubles the first p99. */
const WARM_UP_SECONDS = 1;
const BATCH_EVENTS = 4096;
/** Objects in the RAM in front while gets from RAM are counted. */
const RAM_OBJECTS = 20_000;
const RAM_BYTES = 64 * 2 ** 20;
const KEY_BYTES = 16;
/** Of what fills set-groups in no time, two to a set. */
const LARGE_VALUE_BYTES = 1900;
/** Logical bytes set before gets are counted, over the cache's: enough that sets evict. */
const FILLED = 1.2;
/** Of the objects set last, those that are asked for: nearly all of them are still there. */
const ASKED_SHARE = 0.3;
const LARGEST_SCRATCH_BYTES = 2 ** 30;

/** @throws SystemCallError without direct I/O, FlashError, the signal's reason */
export async function measureSpeed(options: SpeedOptions): Promise<readonly SpeedRow[]> {
  const { file, cacheBytes, zoneBytes, signal, onMessage } = options;
  const bytes = Math.min(LARGEST_SCRATCH_BYTES, cacheBytes - (cacheBytes % 2 ** 20));
  const scratch = { directory: path.dirname(path.resolve(file)), bytes, seconds: SECONDS };
  const device = (inFlight: number): DeviceFigures => {
    onMessage?.(`measuring the drive with ${inFlight} reads in flight`);
    return measureDevice({ ...scratch, inFlight });
  };
  const rows: SpeedRow[] = [await ramGets()];
  for (const [what, nemo] of [
    [SPEED.flashGets, { indexCachedShare: 1 }],
    ["gets, half of the index on flash", {}],
  ] as const) {
    const devices = new Devices({ cacheBytes, zoneBytes, file });
    try {
      const zones = new TimedZones(await devices.zones(Math.floor(cacheBytes / zoneBytes)));
      await using cache = new FlashCache(await openNemo(zones, nemo satisfies NemoOptions));
      onMessage?.("filling the cache");
      const filled = await fill(cache, options);
      if (what === SPEED.flashGets) rows.push(setRow(filled, cache));
      for (const inFlight of IN_FLIGHT)
        rows.push(
          await rounds(async () => {
            const own = device(inFlight);
            onMessage?.(`${what}, ${inFlight} in flight`);
            return flashGets(what, cache, filled.objects, own, { inFlight, ...(signal && { signal }) });
          }),
        );
      // Last: each of its set-groups evicts one.
      const numbers = from(filled.objects);
      if (what === SPEED.flashGets)
        rows.push(
          await rounds(async () => {
            const own = device(IN_FLIGHT[0]);
            onMessage?.("zone writes");
            return zoneWrites(cache, zones, numbers, own, (burst) => measureBursts({ ...scratch, ...burst }));
          }),
        );
    } finally {
      devices.remove();
    }
  }
  return rows;
}

/** Medians of rounds, each of which measures the drive too: what that can do changes from second to second. */
async function rounds(round: () => Promise<SpeedRow>): Promise<SpeedRow> {
  const rows: SpeedRow[] = [];
  for (let n = 0; n < ROUNDS; n++) rows.push(await round());
  const over = (of: (row: SpeedRow) => number | null) => {
    const values = rows.map(of).filter((value) => value !== null);
    return values.length === 0 ? null : median(values);
  };
  return {
    ...rows[ROUNDS - 1],
    perSecond: over(({ perSecond }) => perSecond) ?? 0,
    devicePerSecond: over(({ devicePerSecond }) => devicePerSecond),
    p99Us: over(({ p99Us }) => p99Us),
    deviceP99Us: over(({ deviceP99Us }) => deviceP99Us),
    shares: rows.map(({ perSecond, devicePerSecond }) => perSecond / (devicePerSecond ?? 1)),
  };
}

interface Filled {
  readonly objects: number;
  /** Calls of set alone. */
  readonly seconds: number;
  readonly hostBytes: number;
}

function* from(number: number): Generator<number, never> {
  for (let n = number; ; n++) yield n;
}

function keyOf(number: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  writeKey(key, number, freshHigh(0, 0));
  return key;
}

async function fill(cache: FlashCache, { cacheBytes, seed, signal }: SpeedOptions): Promise<Filled> {
  const stream = newObjects(seed);
  const batch = createEventBatch(BATCH_EVENTS);
  const random = new Randomness(seed);
  const bytes = Uint8Array.from({ length: 4096 }, () => 256 * random.next());
  let objects = 0;
  let ms = 0;
  while (cache.stats().engine.logicalBytes < FILLED * cacheBytes) {
    stream.next(batch);
    // Keys and values are the caller's business and not timed.
    const keys = Array.from({ length: BATCH_EVENTS }, (_, i) => keyOf(objects + i));
    const values = Array.from(batch.objectBytes, (size) => bytes.subarray(0, Math.max(0, size - KEY_BYTES - 1)));
    const startedAt = performance.now();
    for (let i = 0; i < BATCH_EVENTS; i++) await cache.set(keys[i], values[i]);
    // Completed writes are noticed by the event loop, as in a program that does other things too.
    await nextTick();
    ms += performance.now() - startedAt;
    objects += BATCH_EVENTS;
    signal?.throwIfAborted();
  }
  const { deviceBytesWritten } = cache.stats().engine;
  return { objects, seconds: ms / 1000, hostBytes: deviceBytesWritten };
}

function setRow({ objects, seconds, hostBytes }: Filled, cache: FlashCache): SpeedRow {
  const { ramBytes, engine } = cache.stats();
  const counted = Object.values({ ...ramBytes, ...engine.ram }).reduce((sum, bytes) => sum + bytes, 0);
  return {
    ...{ what: SPEED.sets, inFlight: 1, perSecond: objects / seconds, devicePerSecond: null },
    ...{ p99Us: null, deviceP99Us: null },
    detail: `${objects} new objects of 246 bytes, ${megabytes(hostBytes / seconds)} a second to the drive; ${megabytes(counted)} of RAM as counted`,
  };
}

/**
 * Set-groups as sets fill them, each written while nothing else is done: beside sets it would wait for the event loop more than for
 * the drive. Synced once at the end and in the time, as the drive's own figure is.
 * @param numbers of keys that were not set yet
 */
async function zoneWrites(
  cache: FlashCache,
  zones: TimedZones,
  numbers: Iterator<number>,
  own: DeviceFigures,
  burstsOf: (burst: Pick<MeasureBurstsOptions, "burstBytes" | "pauseMs">) => number,
): Promise<SpeedRow> {
  const random = new Randomness(own.inFlight);
  const value = Uint8Array.from({ length: LARGE_VALUE_BYTES }, () => 256 * random.next());
  const before = zones.appended;
  const startedAt = performance.now();
  const endsAt = startedAt + 1000 * SECONDS;
  // Until one is written at least, however large zones are: there is no speed of nothing.
  while (performance.now() < endsAt || zones.appended.bytes === before.bytes) {
    await cache.set(keyOf(numbers.next().value), value);
    while (zones.isAppending) await nextTick();
  }
  const setMs = performance.now() - startedAt;
  await zones.sync();
  const syncMs = performance.now() - startedAt - setMs;
  const bytes = zones.appended.bytes - before.bytes;
  const busyMs = zones.appended.busyMs - before.busyMs + syncMs;
  const pauseMs = (setMs - (busyMs - syncMs)) / (bytes / zones.zoneBytes);
  const bursts = burstsOf({ burstBytes: Math.ceil(zones.zoneBytes / 2 ** 20) * 2 ** 20, pauseMs });
  return {
    ...{ what: SPEED.zoneWrites, inFlight: 0, perSecond: (1000 * bytes) / busyMs },
    ...{ devicePerSecond: own.writeBytesPerSecond, p99Us: null, deviceP99Us: null },
    detail: `bytes each second: ${megabytes(bytes)} in set-groups of ${(zones.zoneBytes / 2 ** 20).toFixed(1)} MiB, while ${((100 * (busyMs - syncMs)) / setMs).toFixed(0)} % of the time something was written; the drive itself in such bursts with as long pauses: ${megabytes(bursts)} a second`,
  };
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

async function ramGets(): Promise<SpeedRow> {
  const { SimulatedZns } = await import("../device/simulated-zns.ts");
  const engine = await openNemo(new SimulatedZns({ zones: 16, zoneBytes: 2 ** 20 }));
  await using cache = new FlashCache(engine, { ramBytes: RAM_BYTES });
  const keys = Array.from({ length: RAM_OBJECTS }, (_, i) => keyOf(i));
  for (const key of keys) await cache.set(key, new Uint8Array(230));
  const random = new Randomness(1);
  let gets = 0;
  const startedAt = performance.now();
  while (performance.now() - startedAt < 1000 * SECONDS)
    for (let i = 0; i < BATCH_EVENTS; i++, gets++) await cache.get(keys[Math.floor(random.next() * RAM_OBJECTS)]);
  const { hits, ramHits } = cache.stats();
  return {
    ...{ what: SPEED.ramGets, inFlight: 1, perSecond: (1000 * gets) / (performance.now() - startedAt) },
    ...{ devicePerSecond: null, p99Us: null, deviceP99Us: null },
    detail: `${((100 * ramHits) / gets).toFixed(1)} % answered by RAM, ${((100 * hits) / gets).toFixed(1)} % at all`,
  };
}

async function flashGets(
  what: string,
  cache: FlashCache,
  objects: number,
  own: DeviceFigures,
  { inFlight, signal }: { inFlight: number; signal?: AbortSignal },
): Promise<SpeedRow> {
  const random = new Randomness(inFlight);
  const getFor = async (seconds: number): Promise<LatencyHistogram> => {
    const times = new LatencyHistogram();
    const endsAt = performance.now() + 1000 * seconds;
    const lane = async () => {
      for (let now = performance.now(); now < endsAt; ) {
        await cache.get(keyOf(objects - 1 - Math.floor(random.next() * ASKED_SHARE * objects)));
        const after = performance.now();
        times.add(1000 * (after - now));
        now = after;
        signal?.throwIfAborted();
      }
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    return times;
  };
  await getFor(WARM_UP_SECONDS);
  const before = cache.stats().engine;
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const times = await getFor(SECONDS);
  const elapsedMs = performance.now() - startedAt;
  const cpu = process.cpuUsage(cpuBefore);
  const after = cache.stats().engine;
  const gets = after.gets - before.gets;
  const share = (count: number) => `${((100 * count) / gets).toFixed(1)} %`;
  const pages = after.indexPagesRead + after.setPagesRead - before.indexPagesRead - before.setPagesRead;
  return {
    ...{ what, inFlight, perSecond: (1000 * gets) / elapsedMs, devicePerSecond: own.readsPerSecond },
    ...{ p99Us: times.quantile(0.99), deviceP99Us: own.p99Us },
    detail: `${share(after.hitsFlash - before.hitsFlash)} found on flash, ${share(after.hitsRam - before.hitsRam)} in buffers; ${(pages / gets).toFixed(2)} pages a get, ${Math.round((1000 * pages) / elapsedMs)} pages/s; ${((cpu.user + cpu.system) / gets).toFixed(1)} us of the processor a get, ${(cpu.system / gets).toFixed(1)} of them in the kernel`,
  };
}
