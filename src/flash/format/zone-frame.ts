/**
 * The first and the last page of a zone: what it holds and under which parameters it was written. A footer that matches its
 * header is written last, so it tells that the zone is whole. Pages between are their writer's.
 *
 * Payload, little-endian, the same in both: 0 "warmset\0"; 8 version u16; 10 kind u8; 11 filter hashes u8; 12 salt u32; 16
 * sequence u32; 20 opening u32; 24 sets u32; 28 zones in the pool of set groups u32; 32 filter bytes u16; 34 set groups per index
 * group u16; 36 objects u32. No checksum over the zone: each page between has its own, which is checked whenever it is read.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import { sealPage, verifyKind } from "./sealed-page.ts";

const FORMAT_VERSION = 1;
/** Pages of a zone that are not sets. */
export const FRAME_PAGES = 2;

export type ZoneKind = "set-group" | "index" | "checkpoint";

/** What a zone cannot be read without; equal in all zones of a cache. */
export interface ZoneParameters {
  /** Sets per zone. */
  readonly sets: number;
  readonly filterBytes: number;
  readonly filterHashes: number;
  /** Set groups whose filters share an index page. */
  readonly groupSetGroups: number;
  /** Zones in the pool of set groups. */
  readonly setGroups: number;
}

export interface ZoneFrame {
  readonly kind: ZoneKind;
  /** Another salt: another cache. 0 to 2^32 - 1. */
  readonly salt: number;
  /** The how-manieth zone of its kind, from 0 up to 2^32. */
  readonly sequence: number;
  /** The how-manieth opening of the cache wrote it: tells two attempts at the same sequence apart. */
  readonly opening: number;
  readonly objects: number;
  readonly parameters: ZoneParameters;
}

const MAGIC = new TextEncoder().encode("warmset\0");
const KINDS: readonly ZoneKind[] = ["set-group", "index", "checkpoint"];

export function writeFrame(bytes: Uint8Array, at: number, page: "header" | "footer", frame: ZoneFrame): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, PAGE_BYTES);
  const { parameters } = frame;
  bytes.fill(0, at, at + PAGE_BYTES);
  bytes.set(MAGIC, at);
  view.setUint16(8, FORMAT_VERSION, true);
  view.setUint8(10, KINDS.indexOf(frame.kind));
  view.setUint8(11, parameters.filterHashes);
  view.setUint32(12, frame.salt, true);
  view.setUint32(16, frame.sequence, true);
  view.setUint32(20, frame.opening, true);
  view.setUint32(24, parameters.sets, true);
  view.setUint32(28, parameters.setGroups, true);
  view.setUint16(32, parameters.filterBytes, true);
  view.setUint16(34, parameters.groupSetGroups, true);
  view.setUint32(36, frame.objects, true);
  sealPage(bytes, at, page, frame.sequence, 0);
}

/** Undefined where the page is no whole header (or footer) of ours. */
export function readFrame(bytes: Uint8Array, at: number, page: "header" | "footer"): ZoneFrame | undefined {
  if (at + PAGE_BYTES > bytes.length || !verifyKind(bytes, at, page)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, PAGE_BYTES);
  const kind = KINDS[bytes[at + 10]];
  if (MAGIC.some((byte, i) => bytes[at + i] !== byte) || view.getUint16(8, true) !== FORMAT_VERSION) return undefined;
  if (kind === undefined) return undefined;
  return {
    kind,
    salt: view.getUint32(12, true),
    sequence: view.getUint32(16, true),
    opening: view.getUint32(20, true),
    objects: view.getUint32(36, true),
    parameters: {
      sets: view.getUint32(24, true),
      setGroups: view.getUint32(28, true),
      filterBytes: view.getUint16(32, true),
      filterHashes: bytes[at + 11],
      groupSetGroups: view.getUint16(34, true),
    },
  };
}

export function sameParameters(a: ZoneParameters, b: ZoneParameters): boolean {
  return (
    a.sets === b.sets &&
    a.setGroups === b.setGroups &&
    a.filterBytes === b.filterBytes &&
    a.filterHashes === b.filterHashes &&
    a.groupSetGroups === b.groupSetGroups
  );
}
