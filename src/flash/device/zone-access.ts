/** What every zone device refuses: one place, so that an engine meets the same errors on each of them. Holds no state. */
import { FlashError } from "../errors.ts";
import { PAGE_BYTES } from "./zone-device.ts";

export interface ZoneGeometry {
  readonly zones: number;
  /** Whole pages. */
  readonly zoneBytes: number;
}

/** @throws FlashError `bad-options` */
export function checkGeometry({ zones, zoneBytes }: ZoneGeometry): void {
  if (!Number.isSafeInteger(zones) || zones < 1) {
    throw new FlashError("bad-options", `a device has at least one zone, not ${zones}`);
  }
  if (!Number.isSafeInteger(zoneBytes) || zoneBytes < PAGE_BYTES || zoneBytes % PAGE_BYTES !== 0) {
    throw new FlashError("bad-options", `a zone has whole pages of ${PAGE_BYTES} bytes, not ${zoneBytes} bytes`);
  }
}

/** @throws FlashError `bad-access` */
export function checkZone(geometry: ZoneGeometry, zone: number): void {
  if (!Number.isInteger(zone) || zone < 0 || zone >= geometry.zones) {
    throw new FlashError("bad-access", `no zone ${zone}: the device has ${geometry.zones}`);
  }
}

/** @param written the zone's write pointer, in bytes @throws FlashError `bad-access` */
export function checkAppend(geometry: ZoneGeometry, zone: number, written: number, bytes: number): void {
  checkZone(geometry, zone);
  if (bytes === 0 || bytes % PAGE_BYTES !== 0) {
    throw new FlashError("bad-access", `an append has whole pages of ${PAGE_BYTES} bytes, not ${bytes} bytes`);
  }
  if (written + bytes > geometry.zoneBytes) {
    throw new FlashError("bad-access", `${bytes} bytes do not fit into zone ${zone} after ${written}: reset it first`);
  }
}

/** @param written the zone's write pointer, in bytes @throws FlashError `bad-access` */
export function checkRead(
  geometry: ZoneGeometry,
  zone: number,
  written: number,
  page: number,
  pages: number,
  into: Uint8Array | undefined,
): void {
  checkZone(geometry, zone);
  if (!Number.isInteger(page) || !Number.isInteger(pages) || page < 0 || pages < 1) {
    throw new FlashError("bad-access", `no pages ${page} + ${pages} in a zone`);
  }
  if ((page + pages) * PAGE_BYTES > written) {
    throw new FlashError(
      "bad-access",
      `pages ${page} + ${pages} of zone ${zone} lie past its write pointer, ${written}`,
    );
  }
  if (into !== undefined && into.length !== pages * PAGE_BYTES) {
    throw new FlashError("bad-access", `${pages} pages need ${pages * PAGE_BYTES} bytes of memory, not ${into.length}`);
  }
}
