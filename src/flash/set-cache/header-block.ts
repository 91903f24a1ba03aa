/**
 * What the first two blocks of a set cache say: that it is one, of which version and size, and which of its buckets count. They are
 * written in turn, so that one is whole whatever happens to the other.
 *
 * Little-endian: 0 crc32 of bytes 4 to 4,095; 4 magic u32; 8 version u16; 12 blocks u32; 16 salt u32; 20 generation u32; 24 edition
 * u32; 28 objects u64; zeros.
 */
import { crc32 } from "node:zlib";
import type { BlockDevice } from "../device/block-device.ts";
import { PAGE_BYTES } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";

export const HEADER_BLOCKS = 2;
const MAGIC = "WSET";
const VERSION = 1;

export interface Header {
  readonly salt: number;
  /** Buckets are signed with it: those of another one are empty. One more for each new salt. */
  readonly generation: number;
  /** The larger one of the two blocks counts. */
  readonly edition: number;
  /** In all buckets, when this was written. */
  readonly objects: number;
}

/** @throws FlashError `read-only` */
export async function writeHeader(device: BlockDevice, header: Header): Promise<void> {
  const block = Buffer.alloc(PAGE_BYTES);
  block.write(MAGIC, 4, "latin1");
  block.writeUInt16LE(VERSION, 8);
  block.writeUInt32LE(device.blocks, 12);
  block.writeUInt32LE(header.salt, 16);
  block.writeUInt32LE(header.generation, 20);
  block.writeUInt32LE(header.edition, 24);
  block.writeUIntLE(header.objects, 28, 6);
  block.writeUInt32LE(crc32(block.subarray(4)), 0);
  await device.write(header.edition % HEADER_BLOCKS, block);
  await device.sync();
}

/** @returns undefined for a device that nothing was written to. @throws FlashError `not-a-cache`, `other-parameters` */
export async function readHeader(device: BlockDevice): Promise<Header | undefined> {
  let newest: Header | undefined;
  let blank = 0;
  for (let number = 0; number < HEADER_BLOCKS; number++) {
    const block = await readBlock(device, number);
    const header = parse(block, device.blocks);
    if (isBlank(block)) blank++;
    if (header !== undefined && (newest === undefined || header.edition > newest.edition)) newest = header;
  }
  // One blank and one cut off: the cache was killed while it was made.
  if (newest === undefined && blank < HEADER_BLOCKS - 1) {
    throw new FlashError("not-a-cache", "the device holds something else than a set cache: give it another file");
  }
  return newest;
}

async function readBlock(device: BlockDevice, number: number): Promise<Buffer> {
  try {
    const { buffer, byteOffset } = await device.read(number);
    return Buffer.from(buffer, byteOffset, PAGE_BYTES);
  } catch (error) {
    if (!(error instanceof FlashError) || error.kind !== "read-failed") throw error;
    // The other one may be readable; not blank, so that nothing is overwritten if it is not.
    return Buffer.alloc(PAGE_BYTES, 0xff);
  }
}

/** Zeros, or a header's first bytes and zeros. */
function isBlank(block: Buffer): boolean {
  const written = block.subarray(4, 8);
  const ours = Buffer.from(MAGIC, "latin1");
  if (!written.every((byte, i) => byte === 0 || byte === ours[i])) return false;
  return written.equals(ours) || block.subarray(8).every((byte) => byte === 0);
}

function parse(block: Buffer, blocks: number): Header | undefined {
  if (block.toString("latin1", 4, 8) !== MAGIC || block.readUInt32LE(0) !== crc32(block.subarray(4))) return undefined;
  const version = block.readUInt16LE(8);
  const made = block.readUInt32LE(12);
  if (version !== VERSION || made !== blocks) {
    throw new FlashError(
      "other-parameters",
      `the set cache is of version ${version} with ${made} blocks and is opened as version ${VERSION} with ${blocks}`,
    );
  }
  return {
    salt: block.readUInt32LE(16),
    generation: block.readUInt32LE(20),
    edition: block.readUInt32LE(24),
    objects: block.readUIntLE(28, 6),
  };
}
