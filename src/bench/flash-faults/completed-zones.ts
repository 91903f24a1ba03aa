/**
 * What a nemo file shows to somebody who knows its layout and nothing of its engine: the set groups that were written to their end
 * and stand in a row up to the newest one, and the newest entry of each key in them. The engine's own index, filters and caches are
 * not looked at, so that it can be held against this.
 */
import fs from "node:fs";
import { DATA_OFFSET } from "../../flash/device/cache-file.ts";
import { PAGE_BYTES } from "../../flash/device/zone-device.ts";
import {
  endOfEntries,
  entryKey,
  entryValue,
  firstEntry,
  isTombstone,
  nextEntry,
  sequenceHigh,
  sequenceLow,
  verifySet,
} from "../../flash/format/set-page.ts";
import { readFrame } from "../../flash/format/zone-frame.ts";
import { keyNumberOf, versionOf } from "./written-values.ts";

export interface CompletedZones {
  readonly zones: number;
  /** Version of each key, of those that were not deleted. */
  readonly versions: ReadonlyMap<number, number>;
}

/** @throws Error for an entry whose bytes nobody put, or a set that is damaged, within a completed zone */
export function readCompletedZones(file: string, setGroups: number, zoneBytes: number): CompletedZones {
  const bytes = fs.readFileSync(file).subarray(DATA_OFFSET);
  const footerAt = zoneBytes - PAGE_BYTES;
  const complete = new Map<number, { at: number; opening: number }>();
  for (let zone = 0; zone < setGroups; zone++) {
    const at = zone * zoneBytes;
    if (at + zoneBytes > bytes.length) break;
    const header = readFrame(bytes, at, "header");
    const footer = readFrame(bytes, at + footerAt, "footer");
    if (header?.kind !== "set-group" || footer === undefined) continue;
    if (header.sequence !== footer.sequence || header.opening !== footer.opening) continue;
    complete.set(header.sequence, { at, opening: header.opening });
  }
  const newest = new Map<number, number | undefined>();
  let zones = 0;
  for (let sequence = Math.max(-1, ...complete.keys()); zones < setGroups; sequence--, zones++) {
    const zone = complete.get(sequence);
    if (zone === undefined) break;
    for (let at = zone.at + PAGE_BYTES, set = 0; at < zone.at + footerAt; at += PAGE_BYTES, set++) {
      if (!verifySet(bytes, at, set) || sequenceLow(bytes, at) !== sequence || sequenceHigh(bytes, at) !== zone.opening)
        throw new Error(`set ${set} of completed set group ${sequence} is damaged`);
      addEntries(newest, bytes, at);
    }
  }
  const versions = new Map<number, number>();
  for (const [key, version] of newest) if (version !== undefined) versions.set(key, version);
  return { zones, versions };
}

/** Of a set older than those before. Within one the last entry of a key counts. */
function addEntries(newest: Map<number, number | undefined>, bytes: Uint8Array, at: number): void {
  const inSet = new Map<number, number | undefined>();
  for (let entry = firstEntry(at); entry < endOfEntries(bytes, at); entry = nextEntry(bytes, entry)) {
    const key = keyNumberOf(entryKey(bytes, entry));
    if (key < 0) throw new Error("an entry has a key that nobody put");
    const version = isTombstone(bytes, entry) ? undefined : versionOf(key, entryValue(bytes, entry));
    if (version === -1) throw new Error(`key ${key}: an entry holds bytes that nobody put`);
    inSet.set(key, version);
  }
  for (const [key, version] of inSet) if (!newest.has(key)) newest.set(key, version);
}
