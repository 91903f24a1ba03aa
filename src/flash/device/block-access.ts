/** What every block device refuses. Holds no state. */
import { FlashError } from "../errors.ts";
import { PAGE_BYTES } from "./zone-device.ts";

/** @throws FlashError `bad-options` */
export function checkBlocks(blocks: number): void {
  if (!Number.isSafeInteger(blocks) || blocks < 1 || blocks >= 2 ** 32) {
    throw new FlashError("bad-options", `a device has between one block and 2^32, not ${blocks}`);
  }
}

/** @param bytes of the caller's memory, undefined where there is none @throws FlashError `bad-access` */
export function checkBlock(blocks: number, block: number, bytes: Uint8Array | undefined): void {
  if (!Number.isInteger(block) || block < 0 || block >= blocks) {
    throw new FlashError("bad-access", `no block ${block}: the device has ${blocks}`);
  }
  if (bytes !== undefined && bytes.length !== PAGE_BYTES) {
    throw new FlashError("bad-access", `a block has ${PAGE_BYTES} bytes, not ${bytes.length}`);
  }
}
