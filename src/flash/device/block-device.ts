/** The device that set-associative engines write to: 4 KiB blocks, each overwritten where it lies. */
import type { DeviceCounters } from "./zone-device.ts";

export interface BlockDevice {
  readonly blocks: number;
  readonly counters: Readonly<DeviceCounters>;
  /** @throws FlashError `bad-access`, `read-failed`. A block never written reads as zeros. */
  read(block: number, into?: Uint8Array): Promise<Uint8Array>;
  /** @throws FlashError `bad-access`, `read-only` */
  write(block: number, bytes: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}
