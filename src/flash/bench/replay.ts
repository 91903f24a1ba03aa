/**
 * Lets a cache answer a stream of requests until its write amplification no longer changes: gets with look-aside fill, sets and
 * deletes. The same for all engines; what it counts is the device's and the cache's own counters, read at quarters of a turn.
 */
import { setImmediate as nextTick } from "node:timers/promises";
import type { FlashCache } from "../cache/flash-cache.ts";
import type { DeviceCounters } from "../device/zone-device.ts";
import { createEventBatch, DELETE, type EventBatch, type EventSource, SET } from "../workload/event-batch.ts";
import { writeKey } from "../workload/key-bytes.ts";
import { MAX_KEY_BYTES } from "../workload/trace/trace-row.ts";
import { CheckedValues } from "./checked-values.ts";
import { LatencyHistogram } from "./latency-histogram.ts";

export interface ReplayOptions {
  readonly cache: FlashCache;
  /** Of the device, as they are at the call. */
  readonly counters: () => Readonly<DeviceCounters>;
  readonly source: EventSource;
  /** A turn of the cache is so many logical bytes. */
  readonly cacheBytes: number;
  /** Ends without a steady state. */
  readonly mostTurns: number;
  /** Requests answered side by side. More than 1 measures a real device; 1 gives the same figures each time. @default 1 */
  readonly inFlight?: number;
  /** Time calls, for real devices. @default false */
  readonly timed?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

export interface ReplayProgress {
  readonly turns: number;
  /** Over the turn so far. */
  readonly alwa: number;
}

/** Counters at one moment. */
export interface Reading {
  readonly turns: number;
  readonly logicalBytes: number;
  readonly hostBytes: number;
  readonly nandBytes: number;
  readonly gets: number;
  readonly hits: number;
  readonly engineGets: number;
  readonly engineHits: number;
  readonly pagesRead: number;
  readonly requests: number;
  /** Of this process, in all threads. */
  readonly cpuMs: number;
}

export interface Replay {
  /** At the start and after each quarter of a turn. */
  readonly readings: readonly Reading[];
  readonly steady: boolean;
  readonly wrongValues: number;
  readonly getUs: LatencyHistogram;
  readonly putUs: LatencyHistogram;
}

/** Enough that what a batch costs is little; few enough that a signal is soon noticed. */
const BATCH_EVENTS = 4096;
const READINGS_PER_TURN = 4;
const LONGEST_VALUE = 64 << 10;
/** FlashCache's own byte behind each value: values are as much shorter, so that objects have the size of the stream's. */
const SEAL_BYTES = 1;

/** Turns of the cache, written and admitted, before a state can be called steady, and how little it then changes in a turn. */
const STEADY_TURNS = 3;
const STEADY_CHANGE = 0.01;

/** @throws the signal's reason */
export async function replay(options: ReplayOptions): Promise<Replay> {
  const { source, cacheBytes, mostTurns, signal, inFlight = 1, onProgress } = options;
  const run = new Run(options);
  const readings = [run.read()];
  const batch = createEventBatch(BATCH_EVENTS);
  let steady = false;
  while (!steady) {
    const events = await source.next(batch);
    await run.answer(batch, events, inFlight);
    // Engines in RAM settle promises without the event loop, in which signals arrive.
    await nextTick();
    signal?.throwIfAborted();
    const last = readings[readings.length - 1];
    const now = run.read();
    onProgress?.({
      turns: now.turns,
      alwa: alwaBetween(readings[Math.max(0, readings.length - READINGS_PER_TURN)], now),
    });
    const isOver = events === 0 || now.turns >= mostTurns;
    if (now.turns < last.turns + 1 / READINGS_PER_TURN && !isOver) continue;
    readings.push(now);
    steady = isSteady(readings, cacheBytes);
    if (isOver) break;
  }
  return { readings, steady, wrongValues: run.values.wrong, getUs: run.getUs, putUs: run.putUs };
}

/** ALWA of the last turn is that of the one before, after enough turns. */
export function isSteady(readings: readonly Reading[], cacheBytes: number): boolean {
  const [first, now] = [readings[0], readings[readings.length - 1]];
  if (now.turns < STEADY_TURNS || now.hostBytes - first.hostBytes < STEADY_TURNS * cacheBytes) return false;
  const before = readings[readings.length - 1 - READINGS_PER_TURN];
  const earlier = readings[readings.length - 1 - 2 * READINGS_PER_TURN];
  if (earlier === undefined) return false;
  return Math.abs(alwaBetween(before, now) / alwaBetween(earlier, before) - 1) < STEADY_CHANGE;
}

/** The reading one turn before the last, or the first. */
export function turnBefore(readings: readonly Reading[]): Reading {
  return readings[Math.max(0, readings.length - 1 - READINGS_PER_TURN)];
}

export function alwaBetween(from: Reading, to: Reading): number {
  return (to.hostBytes - from.hostBytes) / (to.logicalBytes - from.logicalBytes);
}

class Run {
  readonly getUs = new LatencyHistogram();
  readonly putUs = new LatencyHistogram();
  readonly values = new CheckedValues(LONGEST_VALUE);
  readonly #options: ReplayOptions;
  readonly #isTimed: boolean;
  /** A value that was overtaken by a set beside it is no mistake, so values are looked at one by one only. */
  readonly #isChecked: boolean;
  /** By length. A key is in use until its call has hashed it, which it does at once, and copied it, so each request has its own. */
  readonly #keys: readonly Uint8Array[];
  readonly #cpuAtStart = process.cpuUsage();
  #requests = 0;
  #next = 0;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#isTimed = options.timed ?? false;
    this.#isChecked = (options.inFlight ?? 1) === 1;
    this.#keys = Array.from({ length: MAX_KEY_BYTES + 1 }, (_, length) => new Uint8Array(length));
  }

  async answer(batch: EventBatch, events: number, inFlight: number): Promise<void> {
    this.#requests += events;
    if (inFlight === 1) {
      for (let i = 0; i < events; i++) await this.#one(batch, i, this.#keys[batch.keyBytes[i]]);
      return;
    }
    this.#next = 0;
    await Promise.all(Array.from({ length: inFlight }, () => this.#lane(batch, events)));
  }

  async #lane(batch: EventBatch, events: number): Promise<void> {
    while (this.#next < events) {
      const i = this.#next++;
      await this.#one(batch, i, new Uint8Array(batch.keyBytes[i]));
    }
  }

  async #one(batch: EventBatch, i: number, key: Uint8Array): Promise<void> {
    const { cache } = this.#options;
    const idLow = batch.idLow[i];
    const idHigh = batch.idHigh[i];
    writeKey(key, idLow, idHigh);
    const operation = batch.operation[i];
    if (operation === DELETE) {
      this.values.deleted(idLow, idHigh);
      await cache.delete(key);
      return;
    }
    if (operation !== SET) {
      const startedAt = this.#isTimed ? performance.now() : 0;
      const value = await cache.get(key);
      if (this.#isTimed) this.getUs.add(1000 * (performance.now() - startedAt));
      if (value !== undefined) {
        if (this.#isChecked) this.values.check(idLow, idHigh, value);
        return;
      }
    }
    const valueBytes = Math.min(LONGEST_VALUE, Math.max(0, batch.objectBytes[i] - key.length - SEAL_BYTES));
    const value = this.values.make(idLow, idHigh, valueBytes);
    const startedAt = this.#isTimed ? performance.now() : 0;
    await cache.set(key, value);
    if (this.#isTimed) this.putUs.add(1000 * (performance.now() - startedAt));
  }

  read(): Reading {
    const { cache, counters, cacheBytes } = this.#options;
    const { gets, hits, engine } = cache.stats();
    const { hostBytesWritten, nandBytesWritten } = counters();
    const cpu = process.cpuUsage(this.#cpuAtStart);
    return {
      turns: engine.logicalBytes / cacheBytes,
      logicalBytes: engine.logicalBytes,
      hostBytes: hostBytesWritten,
      nandBytes: nandBytesWritten,
      ...{ gets, hits, engineGets: engine.gets, engineHits: engine.hitsRam + engine.hitsFlash },
      pagesRead: engine.indexPagesRead + engine.setPagesRead,
      requests: this.#requests,
      cpuMs: (cpu.user + cpu.system) / 1000,
    };
  }
}
