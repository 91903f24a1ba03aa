/** A row of the table out of a replay: every rate over the last turn of the cache, what lies in RAM as it is at the end. */
import type { FlashCacheStats } from "../cache/flash-cache.ts";
import type { EngineName, EngineStats } from "../engine.ts";
import { PUBLISHED } from "./published.ts";
import { alwaBetween, type Reading, type Replay, turnBefore } from "./replay.ts";
import type { BitsPerObject, FlashRow, TurnPoint } from "./results.ts";

export interface RowSubject {
  readonly engine: EngineName;
  readonly variant: string;
  readonly device: string;
  readonly details: Readonly<Record<string, number>>;
}

export function flashRow(subject: RowSubject, replay: Replay, stats: FlashCacheStats): FlashRow {
  const { engine, variant, device, details } = subject;
  const { readings, steady, wrongValues, getUs, putUs } = replay;
  const to = readings[readings.length - 1];
  const from = turnBefore(readings);
  const { alwa, dlwa, missRatio } = pointOf(from, to);
  const pages = to.pagesRead - from.pagesRead;
  return {
    ...{ engine, variant, device, alwa, dlwa, totalWa: alwa * dlwa, missRatio },
    bitsPerObject: bitsPerObject(stats.engine),
    bytesPerRequest: (to.hostBytes - from.hostBytes) / Math.max(1, to.requests - from.requests),
    readAmplification: ratio(pages, to.engineGets - from.engineGets),
    pagesPerHit: ratio(pages, to.engineHits - from.engineHits),
    fillRate: stats.engine.fillRate,
    ...{ fates: fateShares(stats.engine), details },
    meanObjectBytes: stats.engine.logicalBytes / Math.max(1, stats.engine.puts - stats.engine.fates.notAdmitted),
    residentObjects: stats.engine.residentObjects,
    ramBytes: stats.ramBytes.objects + stats.ramBytes.admission,
    requestsPerCpuSecond: (1000 * to.requests) / to.cpuMs,
    latencyUs: getUs.count + putUs.count === 0 ? null : { get: getUs.summary(), put: putUs.summary() },
    ...{ turns: to.turns, steady, wrongValues },
    curve: readings.slice(1).map((reading, i) => pointOf(readings[i], reading)),
    comparable: PUBLISHED[engine].comparable,
  };
}

function pointOf(from: Reading, to: Reading): TurnPoint {
  const hostBytes = to.hostBytes - from.hostBytes;
  const gets = to.gets - from.gets;
  return {
    turns: to.turns,
    alwa: alwaBetween(from, to),
    // Nothing written is nothing written twice.
    dlwa: hostBytes === 0 ? 1 : (to.nandBytes - from.nandBytes) / hostBytes,
    missRatio: gets === 0 ? null : 1 - (to.hits - from.hits) / gets,
  };
}

function bitsPerObject({ ram, residentObjects }: EngineStats): BitsPerObject {
  const bits = (bytes: number) => (8 * bytes) / Math.max(1, residentObjects);
  const { index, buffers, hotness } = ram;
  return {
    index: bits(index),
    buffers: bits(buffers),
    hotness: bits(hotness),
    all: bits(index + buffers + hotness),
  };
}

function fateShares({ fates, puts }: EngineStats): Record<string, number> {
  return Object.fromEntries(Object.entries(fates).map(([fate, count]) => [fate, count / Math.max(1, puts)]));
}

function ratio(count: number, of: number): number | null {
  return of === 0 ? null : count / of;
}
