/**
 * A set group in RAM: the very image of its zone, with a page for the header, its sets and a page for the footer, so that it is
 * written from where it lies. It takes no decisions; see `ram-groups.ts`.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import {
  appendCopy,
  appendEntry,
  clearSet,
  ENTRY_BYTES,
  entomb,
  entryBytes,
  findEntry,
  isTombstone,
  removeEntry,
  TOMBSTONE,
  tombstoneBytes,
  usedBytes,
} from "../format/set-page.ts";
import type { HashedKey } from "../key-hash.ts";

export class SetGroup {
  readonly sets: number;
  readonly bytes: Uint8Array;
  /** Entries that are no tombstones. */
  objects = 0;
  /** Bytes of all entries, overhead included. */
  entryBytes = 0;

  constructor(sets: number) {
    this.sets = sets;
    this.bytes = new Uint8Array((sets + 2) * PAGE_BYTES);
    this.clear();
  }

  clear(): void {
    for (let s = 0; s < this.sets; s++) clearSet(this.bytes, this.at(s), s);
    this.objects = 0;
    this.entryBytes = 0;
  }

  /** Where set `s` begins. */
  at(s: number): number {
    return (s + 1) * PAGE_BYTES;
  }

  used(s: number): number {
    return usedBytes(this.bytes, this.at(s));
  }

  find(s: number, key: HashedKey): number {
    return findEntry(this.bytes, this.at(s), key);
  }

  append(s: number, key: HashedKey, value: Uint8Array, flags: number): boolean {
    if (!appendEntry(this.bytes, this.at(s), key, value, flags)) return false;
    this.entryBytes += ENTRY_BYTES + key.bytes.length + value.length;
    if ((flags & TOMBSTONE) === 0) this.objects++;
    return true;
  }

  /** Appends another page's entry. */
  appendCopy(s: number, from: Uint8Array, entry: number): boolean {
    if (!appendCopy(this.bytes, this.at(s), from, entry)) return false;
    this.entryBytes += entryBytes(from, entry);
    if (!isTombstone(from, entry)) this.objects++;
    return true;
  }

  remove(s: number, entry: number): void {
    if (!isTombstone(this.bytes, entry)) this.objects--;
    this.entryBytes -= entryBytes(this.bytes, entry);
    removeEntry(this.bytes, this.at(s), entry);
  }

  /** Leaves a tombstone in place of an object. */
  entomb(s: number, entry: number): void {
    this.objects--;
    this.entryBytes -= entryBytes(this.bytes, entry) - tombstoneBytes(this.bytes, entry);
    entomb(this.bytes, this.at(s), entry);
  }
}
