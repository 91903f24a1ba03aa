/**
 * Between an engine and its device in a process that is about to die: tells the journal of every write before it happens, and kills
 * the process in the middle of the one it was told to. A kill by SIGKILL, so nothing runs after it.
 */
import type { BlockDevice } from "../../flash/device/block-device.ts";
import { PAGE_BYTES, type ZoneDevice } from "../../flash/device/zone-device.ts";
import type { JournalWriter } from "./journal.ts";
import type { Between } from "./subject.ts";

export interface DoomedWrite {
  /** Writes of the process before it. */
  readonly index: number;
  /** Share of it that is written, in whole pages: 0 nothing, 1 all of it though the engine does not hear of that. */
  readonly share: number;
}

/** @param doomed undefined: the kill comes from outside */
export function doomedDevices(journal: JournalWriter, doomed: DoomedWrite | undefined): Between {
  let writes = 0;
  const lastWrite = () => writes++ === doomed?.index;
  const share = doomed?.share ?? 1;
  return {
    zones: (device) => doomedZones(device, journal, lastWrite, share),
    blocks: (device) => doomedBlocks(device, journal, lastWrite, share),
  };
}

function doomedZones(device: ZoneDevice, journal: JournalWriter, isLast: () => boolean, share: number): ZoneDevice {
  return {
    zones: device.zones,
    zoneBytes: device.zoneBytes,
    counters: device.counters,
    read: (zone, page, pages, into) => device.read(zone, page, pages, into),
    reset: (zone) => device.reset(zone),
    sync: () => device.sync(),
    close: () => device.close(),
    written: (zone) => device.written(zone),
    async append(zone, bytes) {
      journal.tell({ what: "writing", place: zone, atBegin: device.written(zone) === 0 });
      if (!isLast()) return device.append(zone, bytes);
      const pages = Math.round((share * bytes.length) / PAGE_BYTES);
      if (pages > 0) await device.append(zone, bytes.subarray(0, pages * PAGE_BYTES));
      process.kill(process.pid, "SIGKILL");
    },
  };
}

function doomedBlocks(device: BlockDevice, journal: JournalWriter, isLast: () => boolean, share: number): BlockDevice {
  return {
    blocks: device.blocks,
    counters: device.counters,
    read: (block, into) => device.read(block, into),
    sync: () => device.sync(),
    close: () => device.close(),
    async write(block, bytes) {
      journal.tell({ what: "writing", place: block, atBegin: true });
      if (!isLast()) return device.write(block, bytes);
      if (share >= 0.5) await device.write(block, bytes);
      process.kill(process.pid, "SIGKILL");
    },
  };
}
