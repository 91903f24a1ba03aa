/**
 * Opening a log: which zones hold what, oldest first, and the index filled from their footers. It reads only; what it finds without
 * a footer is read record by record.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import type { LogIndex } from "./log-index.ts";
import { hashHighAt, hashLowAt, isDeletion } from "./record.ts";
import { type ListedRecord, readListed, type Stamp } from "./zone-format.ts";
import { type Footer, inspectZone, readFooter, readZone, scanRecords } from "./zone-reader.ts";

export interface LogFound {
  /** Zones with records, oldest first. */
  readonly live: number[];
  /** Of them those without a usable footer, oldest first. */
  readonly unfinished: number[];
  /** Zones to write to. */
  readonly free: number[];
  /** By zone; 0 where nothing is. */
  readonly sequences: Float64Array;
  readonly lastSequence: number;
}

/**
 * @param unit of the records' places
 * @throws FlashError `not-a-cache` when what the device holds is not a log, `other-parameters`
 */
export async function recoverLog(device: ZoneDevice, index: LogIndex, unit: number): Promise<LogFound> {
  const sequences = new Float64Array(device.zones);
  const live: number[] = [];
  const free: number[] = [];
  let foreign = 0;
  for (let zone = 0; zone < device.zones; zone++) {
    const found = await inspectZone(device, zone);
    if (found.state === "foreign") foreign++;
    if (found.state !== "ours") {
      free.push(zone);
      continue;
    }
    checkStamp(device, found.stamp);
    sequences[zone] = found.stamp.sequence;
    live.push(zone);
  }
  // Beside zones of ours a foreign one is a zone of ours whose first page is damaged.
  if (foreign > 0 && live.length === 0) {
    throw new FlashError("not-a-cache", "the device holds something else than a log cache: give it another file");
  }
  live.sort((a, b) => sequences[a] - sequences[b]);
  const unfinished: number[] = [];
  for (const zone of live) {
    const begin = (zone * device.zoneBytes) / unit;
    const footer = await readFooter(device, zone, sequences[zone]);
    if (footer !== undefined) {
      indexListed(index, footer, begin, unit);
    } else {
      unfinished.push(zone);
      const bytes = await readZone(device, zone);
      for (const at of scanRecords(bytes, sequences[zone], unit)) {
        indexRecord(index, hashLowAt(bytes, at), hashHighAt(bytes, at), begin + at / unit, isDeletion(bytes, at));
      }
    }
  }
  return { live, unfinished, free, sequences, lastSequence: live.length === 0 ? 0 : sequences[live[live.length - 1]] };
}

function indexListed(index: LogIndex, footer: Footer, begin: number, unit: number): void {
  const record: ListedRecord = { high: 0, low: 0, offset: 0, deletion: false };
  for (let i = 0; i < footer.records; i++) {
    readListed(footer.list, i, unit, record);
    indexRecord(index, record.low, record.high, begin + record.offset / unit, record.deletion);
  }
}

function indexRecord(index: LogIndex, low: number, high: number, place: number, deletion: boolean): void {
  if (deletion) index.remove(low, high);
  else index.set(low, high, place);
}

function checkStamp(device: ZoneDevice, stamp: Stamp): void {
  const zonePages = device.zoneBytes / PAGE_BYTES;
  if (stamp.zones === device.zones && stamp.zonePages === zonePages) return;
  throw new FlashError(
    "other-parameters",
    `the log was made with ${stamp.zones} zones of ${stamp.zonePages} pages and is opened with ${device.zones} of ${zonePages}`,
  );
}
