/**
 * The first page of a cache's file: whose it is, its geometry, and a label of the application's. Little-endian; magic (8 bytes),
 * version, kind, units, pages per unit and length of the label (u32 each), the label, zeros, and crc32 of all that in the last four
 * bytes. Written once, when the file is made.
 */
import { crc32 } from "node:zlib";
import { PAGE_BYTES } from "./zone-device.ts";

const MAGIC = "warmset\n";
const VERSION = 1;
const LABEL_AT = 28;
const CRC_AT = PAGE_BYTES - 4;
export const MAX_LABEL_BYTES = CRC_AT - LABEL_AT;

/** Values of the field on disk. */
const KINDS = { zones: 1, blocks: 2 } as const;
export type CacheFileKind = keyof typeof KINDS;

export interface Superblock {
  readonly kind: CacheFileKind;
  /** Zones or blocks. */
  readonly units: number;
  /** Of a zone; 1 of blocks. */
  readonly pagesPerUnit: number;
  /** UTF-8, at most `MAX_LABEL_BYTES`. */
  readonly label: string;
}

export function encodeSuperblock({ kind, units, pagesPerUnit, label }: Superblock): Uint8Array {
  const page = Buffer.alloc(PAGE_BYTES);
  page.write(MAGIC, 0, "latin1");
  page.writeUInt32LE(VERSION, 8);
  page.writeUInt32LE(KINDS[kind], 12);
  page.writeUInt32LE(units, 16);
  page.writeUInt32LE(pagesPerUnit, 20);
  page.writeUInt32LE(page.write(label, LABEL_AT, "utf8"), 24);
  page.writeUInt32LE(crc32(page.subarray(0, CRC_AT)), CRC_AT);
  return page;
}

/** @param page any bytes @returns what is wrong with them, as the end of a sentence, when they are no superblock */
export function decodeSuperblock(page: Uint8Array): Superblock | string {
  if (page.length !== PAGE_BYTES) return "it is shorter than a page";
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.length);
  if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return "it was not written by this program";
  if (bytes.readUInt32LE(CRC_AT) !== crc32(bytes.subarray(0, CRC_AT))) return "its first page is damaged";
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) return `its format is version ${version}, and this program knows ${VERSION}`;
  const code = bytes.readUInt32LE(12);
  const kind = (Object.keys(KINDS) as CacheFileKind[]).find((name) => KINDS[name] === code);
  const labelBytes = bytes.readUInt32LE(24);
  if (kind === undefined || labelBytes > MAX_LABEL_BYTES) return "its first page makes no sense";
  return {
    kind,
    units: bytes.readUInt32LE(16),
    pagesPerUnit: bytes.readUInt32LE(20),
    label: bytes.toString("utf8", LABEL_AT, LABEL_AT + labelBytes),
  };
}
