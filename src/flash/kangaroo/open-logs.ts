/** Divides zones and sets among as many logs as their page numbers need. The logs share the memory that old segments are read to. */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { MOST_LOG_PAGES } from "./log-index.ts";
import { ObjectLog } from "./object-log.ts";

export interface LogsOptions {
  /** Zones of the device that are the logs' alone. */
  readonly zones: readonly number[];
  readonly sets: number;
  /** Whole pages, at most a zone. */
  readonly segmentBytes: number;
  /** Share kept free, beside the zone that is being written. */
  readonly freeShare: number;
  /** @default as few as can be */
  readonly partitions?: number;
}

/** @throws FlashError `bad-options` */
export function openLogs(device: ZoneDevice, options: LogsOptions): readonly ObjectLog[] {
  const { zones, sets, segmentBytes, freeShare } = options;
  const zonePages = device.zoneBytes / PAGE_BYTES;
  const mostZones = Math.floor(MOST_LOG_PAGES / zonePages);
  const parts = options.partitions ?? Math.ceil(zones.length / mostZones);
  if (!Number.isInteger(parts) || parts < 1 || parts > sets || Math.ceil(zones.length / parts) > mostZones) {
    throw new FlashError("bad-options", `${zones.length} zones and ${sets} sets cannot be divided into ${parts} logs`);
  }
  const segmentPages = segmentBytes / PAGE_BYTES;
  if (!Number.isInteger(segmentPages) || segmentPages < 1 || segmentPages > zonePages) {
    throw new FlashError(
      "bad-options",
      `a segment is of whole pages and no more than a zone, not ${segmentBytes} bytes`,
    );
  }
  const oldest = new Uint8Array(segmentBytes);
  return Array.from({ length: parts }, (_, part) => {
    const own = zones.filter((_zone, i) => i % parts === part);
    return new ObjectLog(device, { sets, part, parts }, { zones: own, segmentPages, freeShare }, oldest);
  });
}
