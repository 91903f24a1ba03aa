/**
 * The device that log-structured engines write to: zones that are appended to and reset whole, read by page. As of NVMe zoned
 * namespaces and reclaim units; on an ordinary drive a zone is a stretch of a file. What bytes mean is not known here.
 */

export const PAGE_BYTES = 4096;

/** Since the device was opened. */
export interface DeviceCounters {
  /** What the engine wrote. */
  hostBytesWritten: number;
  hostBytesRead: number;
  pagesRead: number;
  /** Zones reset; blocks erased where flash is simulated. */
  resets: number;
  /** What the flash behind it programmed: at least `hostBytesWritten` where that is simulated, equal to it where it is not known. */
  nandBytesWritten: number;
}

export interface ZoneDevice {
  readonly zones: number;
  /** Writable bytes of a zone, whole pages. */
  readonly zoneBytes: number;
  readonly counters: Readonly<DeviceCounters>;
  /**
   * Writes whole pages at the zone's write pointer. The bytes are the device's until the promise settles. Appends to one zone
   * happen in the order of the calls.
   * @throws FlashError `bad-access` when they do not fit, `read-only` when the device is full or fails
   */
  append(zone: number, bytes: Uint8Array): Promise<void>;
  /**
   * Pages of a zone, in memory of the caller's own (`into`, pages x 4,096 bytes) or in new memory.
   * @throws FlashError `bad-access` past the write pointer, `read-failed`
   */
  read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Forgets a zone and puts its write pointer back to 0. */
  reset(zone: number): Promise<void>;
  /** What was appended before survives a loss of power. */
  sync(): Promise<void>;
  close(): Promise<void>;
  /**
   * Bytes up to the write pointer. After opening a file that holds zones already, a zone not known to be empty counts as full: its
   * pages can be read, and it must be reset before it is written to.
   */
  written(zone: number): number;
}

export function noCounters(): DeviceCounters {
  return { hostBytesWritten: 0, hostBytesRead: 0, pagesRead: 0, resets: 0, nandBytesWritten: 0 };
}
