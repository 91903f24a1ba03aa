/**
 * What a Nemo cache is opened with, and the shape that follows from it on a given device. The shape's zone parameters are written
 * with every zone: a cache is opened again with the same ones or not at all.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { type FilterShape, filterShape, filtersPerPage, rowBytesOf } from "../format/filter.ts";
import { PAYLOAD_BYTES } from "../format/sealed-page.ts";
import { MAX_OBJECT_BYTES, SET_CAPACITY } from "../format/set-page.ts";
import { FRAME_PAGES, type ZoneParameters } from "../format/zone-frame.ts";

/** How full a set of the rear set group may get: the rest is room for the time when it is the front. */
const REAR_FULL_SHARE = 0.9;

export type WriteBack = "off" | "hot" | "hot-and-cold";
/**
 * `strict`: never an older value than the newest put, and never a deleted one (tombstones, and no writing back of what a newer set
 * group may hold). `advisory`: as published; a key's older values can come back.
 */
export type Consistency = "strict" | "advisory";

export interface NemoOptions {
  /**
   * Puts that may fail, and drop older objects instead, before a flush: a share of the sets. Larger ones write less and miss no more
   * (docs/flash-figures.md), but drop more of what was just put: 0.2 % at the default, 0.6 % at 0.06, 2.4 % at 0.25.
   * @default 0.015 (4,096 of 275,712)
   */
  readonly flushThreshold?: number;
  /** Objects that the filter of a set is sized for. @default 20; the paper's 40 costs twice the memory for sets of 15 */
  readonly filterObjects?: number;
  /** Share of absent keys that a filter may claim. @default 0.001 */
  readonly filterFalsePositives?: number;
  /** Set groups whose filters of one set number share an index page. @default as many as fit by eights: 112; the paper's code has 50 */
  readonly groupSetGroups?: number;
  /** Share of the set numbers whose index pages are kept in RAM. @default 0.5 */
  readonly indexCachedShare?: number;
  /** Share of the set groups, the oldest, whose reads are remembered, one bit an object. @default 0.3 */
  readonly hotness?: number;
  /** The cache is cooled each time this share of it was written. @default 0.1 */
  readonly coolingShare?: number;
  /** Two set groups take puts, not one. @default true */
  readonly bufferedSetGroups?: boolean;
  /** Drops some objects rather than flush at the first full set. @default true */
  readonly delayedFlush?: boolean;
  /**
   * What of an evicted set group is written again, as far as there is room.
   * @default "hot-and-cold": cold objects fill what would be written empty, for the same writes and 0.2 points fewer misses
   */
  readonly writeBack?: WriteBack;
  /** @default "strict" */
  readonly consistency?: Consistency;
  /** Largest key + value. @default 4058, what a set holds */
  readonly maxObjectBytes?: number;
  /** Zones kept for what is in RAM at a close; with 0 a close loses it. @default 3 */
  readonly checkpointZones?: number;
  /** Another salt is another cache: zones of the old one count as empty. 0 to 2^32 - 1. @default 0 */
  readonly salt?: number;
}

export interface NemoShape {
  readonly parameters: ZoneParameters;
  readonly filter: FilterShape;
  /** Sets per set group. */
  readonly sets: number;
  /** Set groups in the pool; that with sequence number q lies in zone q % setGroups. */
  readonly setGroups: number;
  readonly groupSetGroups: number;
  /** Index group g lies in zone setGroups + g % indexZones. */
  readonly indexZones: number;
  readonly checkpointZones: number;
  readonly firstCheckpointZone: number;
  readonly allowedFailures: number;
  readonly rearBytes: number;
  readonly cachedSetNumbers: number;
  readonly trackedSetGroups: number;
  readonly coolingSetGroups: number;
  readonly bufferedSetGroups: boolean;
  readonly writeBack: WriteBack;
  readonly strict: boolean;
  readonly maxObjectBytes: number;
  readonly salt: number;
}

/** @throws FlashError `bad-options` */
export function shapeOf(device: Pick<ZoneDevice, "zones" | "zoneBytes">, options: NemoOptions): NemoShape {
  const filter = filterShape(options.filterObjects ?? 20, options.filterFalsePositives ?? 0.001);
  const groupSetGroups = options.groupSetGroups ?? filtersPerPage(filter);
  if (!(groupSetGroups >= 1 && rowBytesOf(groupSetGroups) * filter.bits <= PAYLOAD_BYTES))
    throw new FlashError("bad-options", `${groupSetGroups} filters of ${filter.bytes} bytes do not share a page`);
  const sets = device.zoneBytes / PAGE_BYTES - FRAME_PAGES;
  const { checkpointZones = 3, salt = 0 } = options;
  for (const [name, value] of Object.entries({ checkpointZones, salt }))
    if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32))
      throw new FlashError("bad-options", `${name} must be a whole number from 0 to 2^32 - 1, not ${value}`);
  const setGroups = setGroupsOf(device.zones - checkpointZones, groupSetGroups);
  if (sets < 1 || setGroups < 1)
    throw new FlashError(
      "bad-options",
      `${device.zones} zones of ${device.zoneBytes} bytes are too few for this cache`,
    );
  const share = (name: keyof NemoOptions, value: number) => {
    if (!(value >= 0 && value <= 1)) throw new FlashError("bad-options", `${name} must be 0 to 1, not ${value}`);
    return value;
  };
  const delayed = options.delayedFlush ?? true;
  return {
    parameters: { sets, setGroups, filterBytes: filter.bytes, filterHashes: filter.hashes, groupSetGroups },
    filter,
    sets,
    setGroups,
    groupSetGroups,
    indexZones: Math.ceil(setGroups / groupSetGroups),
    checkpointZones,
    firstCheckpointZone: device.zones - checkpointZones,
    allowedFailures: delayed ? Math.round(share("flushThreshold", options.flushThreshold ?? 0.015) * sets) : 0,
    rearBytes: Math.floor(REAR_FULL_SHARE * SET_CAPACITY),
    cachedSetNumbers: Math.round(share("indexCachedShare", options.indexCachedShare ?? 0.5) * sets),
    trackedSetGroups: Math.ceil(share("hotness", options.hotness ?? 0.3) * setGroups),
    coolingSetGroups: Math.max(1, Math.round(share("coolingShare", options.coolingShare ?? 0.1) * setGroups)),
    bufferedSetGroups: options.bufferedSetGroups ?? true,
    writeBack: options.writeBack ?? "hot-and-cold",
    strict: (options.consistency ?? "strict") === "strict",
    maxObjectBytes: Math.min(options.maxObjectBytes ?? MAX_OBJECT_BYTES, MAX_OBJECT_BYTES),
    salt,
  };
}

/** Of that many zones, those for set groups: one more for each begun index group is set aside. */
function setGroupsOf(zones: number, groupSetGroups: number): number {
  let setGroups = zones - 1;
  while (setGroups > 0 && setGroups + Math.ceil(setGroups / groupSetGroups) > zones) setGroups--;
  return setGroups;
}
