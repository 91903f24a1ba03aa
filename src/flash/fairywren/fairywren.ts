/**
 * `fairywren` (OSDI'24, as corrected by the authors of Nemo): a small log before sets that are themselves logs of hot and cold
 * pages. A baseline, and volatile: the map of sets is in RAM alone, and the device is reset at open. Nothing older than the last
 * put is ever answered, which the papers' code does not promise.
 */

import { Randomness } from "../../predict/randomness.ts";
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { type EngineStats, noStats } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { LogBeforeSets, type LogBeforeSetsParts } from "../kangaroo/log-before-sets.ts";
import { openLogs } from "../kangaroo/open-logs.ts";
import { COLD, FairywrenSets, HOT } from "./fairywren-sets.ts";
import { SetZones } from "./set-zones.ts";

export interface FairywrenOptions {
  /** Share of the zones that are the log, at least two. @default 0.05 */
  readonly logShare?: number;
  /** Share of the sets' flash that buckets leave free for cleaning, beside `cleaningUpper`. @default 0.05 */
  readonly overprovisioning?: number;
  /** Share of the log kept free: below, its oldest segment moves to the sets. @default 0.15 */
  readonly logFreeShare?: number;
  /** A second such share: where the published cleaner begins when it is idle, which this one never is. @default 0.05 */
  readonly cleaningUpper?: number;
  /** Share of the sets' zones: when fewer are free, zones are cleaned before anything is written; three at least. @default 0.015 */
  readonly cleaningLower?: number;
  /** Cold writes of a bucket for each hot one, 1 to 255. @default 5 */
  readonly hotEvery?: number;
  /** Share of new objects that are let in, above 0 and at most 1. @default 1 */
  readonly admission?: number;
  /** Logs, each with zones and sets of its own. @default as few as 20 bits of page number allow: one up to 4 GiB of log */
  readonly partitions?: number;
  /** Bytes written to the log at once, whole pages; no more than a zone. @default 1048576, or a zone where that is smaller */
  readonly segmentBytes?: number;
  /** Bytes of sets written at once, whole pages. @default 262144, or a zone where that is smaller */
  readonly sliceBytes?: number;
  /** Bloom filter of a page of 4 KiB, bytes. @default 8 */
  readonly filterBytes?: number;
  /** Of admission. @default 1 */
  readonly seed?: number;
}

export interface FairywrenStats extends EngineStats {
  readonly fairywren: {
    /** Buckets written because an object came to the log's end, among all: published about 0.25. */
    readonly passiveShare: number;
    /** Objects new to the sets per page written: published 2.04. */
    readonly newObjectsPerSetWrite: number;
    /** What both are made of, since the engine was opened: subtract an earlier reading for a steady state. */
    readonly bucketWrites: { readonly log: number; readonly cleaning: number };
    readonly newObjects: number;
    readonly setPagesWritten: number;
    /** Hot pages written with new content, and hot pages moved by cleaning as they are; both in `setPagesWritten`. */
    readonly hotWrites: number;
    readonly hotMoves: number;
    readonly zonesCleaned: number;
  };
}

export class Fairywren extends LogBeforeSets {
  readonly #sets: FairywrenSets;

  constructor(parts: LogBeforeSetsParts, sets: FairywrenSets) {
    super(parts);
    this.#sets = sets;
  }

  override stats(): FairywrenStats {
    const { bucketWrites, rewritten, hotWrites, hotMoves, zonesCleaned } = this.#sets;
    return {
      ...super.stats(),
      fairywren: {
        passiveShare: bucketWrites.log / Math.max(1, bucketWrites.log + bucketWrites.cleaning),
        newObjectsPerSetWrite: rewritten.newObjects / Math.max(1, rewritten.pages),
        bucketWrites: { ...bucketWrites },
        newObjects: rewritten.newObjects,
        setPagesWritten: rewritten.pages,
        ...{ hotWrites, hotMoves, zonesCleaned },
      },
    };
  }
}

/** @throws FlashError `bad-options`, or as the device when it cannot be reset */
export async function openFairywren(device: ZoneDevice, options: FairywrenOptions = {}): Promise<Fairywren> {
  const { logShare = 0.05, overprovisioning = 0.05, cleaningUpper = 0.05, cleaningLower = 0.015 } = options;
  const { hotEvery = 5, filterBytes = 8, admission = 1, seed = 1 } = options;
  const shares = { logShare, overprovisioning, cleaningUpper, cleaningLower };
  for (const [name, share] of Object.entries(shares)) {
    if (!(share >= 0 && share < 1)) throw new FlashError("bad-options", `${name} is a share below 1, not ${share}`);
  }
  if (!(admission > 0 && admission <= 1)) throw new FlashError("bad-options", `admission is a share, not ${admission}`);
  if (!Number.isInteger(hotEvery) || hotEvery < 1 || hotEvery > 255) {
    throw new FlashError("bad-options", `hotEvery is 1 to 255, not ${hotEvery}`);
  }
  const logZones = Math.max(2, Math.round(device.zones * logShare));
  const setZones = device.zones - logZones;
  const freeZones = Math.max(LEAST_FREE_ZONES, Math.ceil(setZones * cleaningLower));
  const zonePages = device.zoneBytes / PAGE_BYTES;
  // Beside the free zones two are open, and one is being cleaned.
  const mostPages = Math.max(0, setZones - freeZones - 3) * zonePages;
  const pages = Math.min(setZones * zonePages * (1 - overprovisioning) * (1 - cleaningUpper), mostPages);
  const buckets = Math.floor(pages / 2);
  if (buckets < 1) {
    throw new FlashError(
      "bad-options",
      `fairywren needs more than ${logZones + freeZones + 3} zones, not ${device.zones}`,
    );
  }
  const stats = noStats();
  const logs = openLogs(device, {
    zones: Array.from({ length: logZones }, (_, zone) => zone),
    sets: buckets,
    segmentBytes: options.segmentBytes ?? Math.min(256 * PAGE_BYTES, device.zoneBytes),
    freeShare: options.logFreeShare ?? 0.15,
    ...(options.partitions === undefined ? {} : { partitions: options.partitions }),
  });
  const slicePages = Math.min((options.sliceBytes ?? 64 * PAGE_BYTES) / PAGE_BYTES, zonePages);
  if (!Number.isInteger(slicePages) || slicePages < 1) {
    throw new FlashError("bad-options", `a slice is of whole pages, not ${options.sliceBytes} bytes`);
  }
  const zones = new SetZones(device, {
    zones: Array.from({ length: setZones }, (_, zone) => logZones + zone),
    pages: 2 * buckets,
    streams: Math.max(COLD, HOT) + 1,
    slicePages,
  });
  for (let zone = 0; zone < device.zones; zone++) if (device.written(zone) > 0) await device.reset(zone);
  const sets = new FairywrenSets({ buckets, logs, zones, hotEvery, filterBytes, freeZones, stats });
  const random = new Randomness(seed);
  const admits = () => admission === 1 || random.next() < admission;
  return new Fairywren({ name: "fairywren", logs, sets, stats, devices: [device], admits }, sets);
}

/** What cleaning one zone may write before it frees it: its cold pages, and hot pages that hold older versions. */
const LEAST_FREE_ZONES = 3;
