/**
 * A run of bytes over the pages of some zones, each page sealed by itself and each zone begun by a header. It ends where its
 * reader stops; nothing tells the end. For checkpoints.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import { PAYLOAD_BYTES, sealPage, verifyPage } from "../format/sealed-page.ts";
import { readFrame, writeFrame } from "../format/zone-frame.ts";
import { frameOf, type NemoState } from "./state.ts";
import { SLICE_BYTES } from "./zone-writing.ts";

/** Bytes that the checkpoint zones can hold. */
export function checkpointCapacity(state: NemoState): number {
  const { zoneBytes } = state.device;
  return state.shape.checkpointZones * (zoneBytes / PAGE_BYTES - 1) * PAYLOAD_BYTES;
}

export class CheckpointWriter {
  readonly #state: NemoState;
  readonly #slice: Uint8Array;
  #filled = 0;
  #inPage = 0;
  #page = 0;
  #zone: number;
  #written = 0;

  constructor(state: NemoState) {
    this.#state = state;
    this.#slice = new Uint8Array(Math.min(SLICE_BYTES, state.device.zoneBytes));
    this.#zone = state.shape.firstCheckpointZone;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      if (this.#inPage === 0 && this.#written + this.#filled === 0) await this.#begin();
      const take = Math.min(PAYLOAD_BYTES - this.#inPage, bytes.length - done);
      this.#slice.set(bytes.subarray(done, done + take), this.#filled + this.#inPage);
      this.#inPage += take;
      done += take;
      if (this.#inPage === PAYLOAD_BYTES) await this.#endPage();
    }
  }

  async end(): Promise<void> {
    if (this.#inPage > 0) await this.#endPage();
    await this.#append();
  }

  async #begin(): Promise<void> {
    const { device } = this.#state;
    if (device.written(this.#zone) > 0) await device.reset(this.#zone);
    writeFrame(this.#slice, 0, "header", frameOf(this.#state, "checkpoint", this.#state.pool.next, 0));
    this.#filled = PAGE_BYTES;
  }

  async #endPage(): Promise<void> {
    this.#slice.fill(0, this.#filled + this.#inPage, this.#filled + PAYLOAD_BYTES);
    sealPage(this.#slice, this.#filled, "checkpoint", this.#state.opening, this.#page++);
    this.#filled += PAGE_BYTES;
    this.#inPage = 0;
    const zoneIsFull = this.#written + this.#filled === this.#state.device.zoneBytes;
    if (zoneIsFull || this.#filled === this.#slice.length) await this.#append();
    if (zoneIsFull) {
      this.#zone++;
      this.#written = 0;
    }
  }

  async #append(): Promise<void> {
    if (this.#filled > 0) await this.#state.device.append(this.#zone, this.#slice.subarray(0, this.#filled));
    this.#written += this.#filled;
    this.#filled = 0;
  }
}

export class CheckpointReader {
  readonly #state: NemoState;
  readonly #opening: number;
  readonly #slice: Uint8Array;
  #zone: number;
  /** The page of the zone that the slice begins with, and how many pages it has. */
  #first = 1;
  #pages = 0;
  /** The page being read, in the slice and since the beginning, and how much of it was read. */
  #page = -1;
  #number = -1;
  #inPage = PAYLOAD_BYTES;

  /** Use `CheckpointReader.open`. */
  constructor(state: NemoState, opening: number) {
    this.#state = state;
    this.#opening = opening;
    this.#slice = new Uint8Array(Math.min(SLICE_BYTES, state.device.zoneBytes));
    this.#zone = state.shape.firstCheckpointZone;
  }

  /** Undefined when there is no checkpoint of the cache as it stands. */
  static async open(state: NemoState): Promise<CheckpointReader | undefined> {
    const { device, shape, pool } = state;
    if (shape.checkpointZones === 0 || device.written(shape.firstCheckpointZone) < PAGE_BYTES) return undefined;
    const header = await device.read(shape.firstCheckpointZone, 0, 1).catch(() => undefined);
    const frame = header === undefined ? undefined : readFrame(header, 0, "header");
    if (frame?.kind !== "checkpoint" || frame.sequence !== pool.next || frame.salt !== shape.salt) return undefined;
    state.opening = Math.max(state.opening, frame.opening + 1);
    return new CheckpointReader(state, frame.opening);
  }

  /** False when the checkpoint is damaged or shorter. */
  async read(into: Uint8Array): Promise<boolean> {
    for (let done = 0; done < into.length; ) {
      if (this.#inPage === PAYLOAD_BYTES && !(await this.#nextPage())) return false;
      const take = Math.min(PAYLOAD_BYTES - this.#inPage, into.length - done);
      const from = this.#page * PAGE_BYTES + this.#inPage;
      into.set(this.#slice.subarray(from, from + take), done);
      this.#inPage += take;
      done += take;
    }
    return true;
  }

  async #nextPage(): Promise<boolean> {
    this.#page++;
    this.#number++;
    this.#inPage = 0;
    if (this.#page >= this.#pages && !(await this.#nextSlice())) return false;
    return verifyPage(this.#slice, this.#page * PAGE_BYTES, "checkpoint", this.#opening, this.#number);
  }

  async #nextSlice(): Promise<boolean> {
    const { device } = this.#state;
    this.#first += this.#pages;
    if (this.#first * PAGE_BYTES === device.zoneBytes) {
      this.#zone++;
      this.#first = 1;
    }
    if (this.#zone === device.zones) return false;
    const bytes = Math.min(this.#slice.length, device.written(this.#zone) - this.#first * PAGE_BYTES);
    this.#pages = Math.max(0, bytes / PAGE_BYTES);
    this.#page = 0;
    if (this.#pages === 0) return false;
    try {
      await device.read(this.#zone, this.#first, this.#pages, this.#slice.subarray(0, bytes));
    } catch {
      return false;
    }
    return true;
  }
}
