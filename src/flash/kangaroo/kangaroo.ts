/**
 * `kangaroo` (SOSP'21): a small log before sets that are overwritten in place. A baseline, and volatile: it finds nothing of what
 * an earlier engine left on its devices, resets the log at open and believes no block that it did not write itself. Nothing
 * older than the last put is ever answered, which the paper's code does not promise.
 */

import { Randomness } from "../../predict/randomness.ts";
import type { BlockDevice } from "../device/block-device.ts";
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { type FlashEngine, noStats } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { KangarooSets } from "./kangaroo-sets.ts";
import { LogBeforeSets } from "./log-before-sets.ts";
import { openLogs } from "./open-logs.ts";

export interface KangarooDevices {
  /** All of it is the log; the paper gives it 5 % of the flash. */
  readonly log: ZoneDevice;
  /** One set a block. */
  readonly sets: BlockDevice;
}

export interface KangarooOptions {
  /** Share of new objects that are let in, above 0 and at most 1. @default 0.9 */
  readonly admission?: number;
  /** Objects that must wait in the log for a set before it is written, at least 1. @default 2 */
  readonly threshold?: number;
  /** Logs, each with zones and sets of its own. @default as few as 20 bits of page number allow: one up to 4 GiB of log */
  readonly partitions?: number;
  /** Bytes written to the log at once, whole pages; no more than a zone. @default 262144, or a zone where that is smaller */
  readonly segmentBytes?: number;
  /** Share of the log kept free, beside the zone that is being written. @default 0.05 */
  readonly logFreeShare?: number;
  /** Bloom filter of a set, bytes: 6 are 3 bits for each of 16 objects. @default 6 */
  readonly filterBytes?: number;
  /** Of admission. @default 1 */
  readonly seed?: number;
}

/** @throws FlashError `bad-options`, or as the log device when it cannot be reset */
export async function openKangaroo(devices: KangarooDevices, options: KangarooOptions = {}): Promise<FlashEngine> {
  const { admission = 0.9, threshold = 2, filterBytes = 6, seed = 1, logFreeShare = 0.05 } = options;
  if (!(admission > 0 && admission <= 1)) throw new FlashError("bad-options", `admission is a share, not ${admission}`);
  if (!Number.isInteger(threshold) || threshold < 1) {
    throw new FlashError("bad-options", `a threshold of ${threshold} objects: give it 1 or more`);
  }
  const stats = noStats();
  const sets = new KangarooSets(devices.sets, { threshold, filterBytes, stats });
  const logs = openLogs(devices.log, {
    zones: Array.from({ length: devices.log.zones }, (_, zone) => zone),
    sets: sets.sets,
    segmentBytes: options.segmentBytes ?? Math.min(64 * PAGE_BYTES, devices.log.zoneBytes),
    freeShare: logFreeShare,
    ...(options.partitions === undefined ? {} : { partitions: options.partitions }),
  });
  for (let zone = 0; zone < devices.log.zones; zone++) {
    if (devices.log.written(zone) > 0) await devices.log.reset(zone);
  }
  const random = new Randomness(seed);
  const admits = () => admission === 1 || random.next() < admission;
  return new LogBeforeSets({ name: "kangaroo", logs, sets, stats, devices: [devices.log, devices.sets], admits });
}
