/**
 * The set groups on flash: a run of sequence numbers, each in the zone of its remainder, and reading a set of one. What a set
 * holds, and whether a group should be read at all, is for others to say.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { sequenceHigh, sequenceLow, verifySet } from "../format/set-page.ts";
import type { NemoShape } from "./options.ts";

export class SetGroupPool {
  readonly device: ZoneDevice;
  readonly #zones: number;
  /** First sequence number there is; equal to `next` when there is none. */
  oldest = 0;
  /** The sequence number that is written next. */
  next = 0;
  /** By zone: objects when written, and in which opening of the cache. */
  readonly objects: Uint32Array;
  readonly openings: Uint32Array;

  constructor(device: ZoneDevice, shape: Pick<NemoShape, "setGroups">) {
    this.device = device;
    this.#zones = shape.setGroups;
    this.objects = new Uint32Array(shape.setGroups);
    this.openings = new Uint32Array(shape.setGroups);
  }

  get isEmpty(): boolean {
    return this.oldest === this.next;
  }

  get isFull(): boolean {
    return this.next - this.oldest === this.#zones;
  }

  get ramBytes(): number {
    return this.objects.byteLength + this.openings.byteLength;
  }

  zoneOf(sequence: number): number {
    return sequence % this.#zones;
  }

  add(objects: number, opening: number): void {
    const zone = this.zoneOf(this.next);
    this.objects[zone] = objects;
    this.openings[zone] = opening;
    this.next++;
  }

  dropOldest(): void {
    this.objects[this.zoneOf(this.oldest)] = 0;
    this.oldest++;
  }

  residentObjects(): number {
    let sum = 0;
    for (const objects of this.objects) sum += objects;
    return sum;
  }

  /** Reads a set into a page. False when it cannot be read, is damaged, or is not of that set group (any more). */
  async readSet(sequence: number, s: number, page: Uint8Array): Promise<boolean> {
    try {
      await this.device.read(this.zoneOf(sequence), s + 1, 1, page);
    } catch {
      return false;
    }
    return this.isSet(sequence, s, page, 0);
  }

  /** Whether a page that was read is the whole set `s` of that set group. */
  isSet(sequence: number, s: number, bytes: Uint8Array, at: number): boolean {
    if (sequenceLow(bytes, at) !== sequence || sequenceHigh(bytes, at) !== this.openings[this.zoneOf(sequence)])
      return false;
    return verifySet(bytes, at, s);
  }

  /** Reads sets one after another, `into` at most as many as it has room for. @throws FlashError `read-failed` */
  readSets(sequence: number, first: number, count: number, into: Uint8Array): Promise<Uint8Array> {
    return this.device.read(this.zoneOf(sequence), first + 1, count, into.subarray(0, count * PAGE_BYTES));
  }
}
