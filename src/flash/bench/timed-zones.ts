/** A zone device with a clock on its appends: how fast it writes while there is something to write. Else as the device beneath. */
import type { DeviceCounters, ZoneDevice } from "../device/zone-device.ts";

export class TimedZones implements ZoneDevice {
  readonly zones: number;
  readonly zoneBytes: number;
  readonly #device: ZoneDevice;
  #pending = 0;
  #busySince = 0;
  #busyMs = 0;
  #bytes = 0;

  constructor(device: ZoneDevice) {
    this.#device = device;
    this.zones = device.zones;
    this.zoneBytes = device.zoneBytes;
  }

  get counters(): Readonly<DeviceCounters> {
    return this.#device.counters;
  }

  /** Bytes appended so far, and the time in which an append was under way. */
  get appended(): { readonly bytes: number; readonly busyMs: number } {
    return { bytes: this.#bytes, busyMs: this.#busyMs };
  }

  get isAppending(): boolean {
    return this.#pending > 0;
  }

  async append(zone: number, bytes: Uint8Array): Promise<void> {
    if (this.#pending++ === 0) this.#busySince = performance.now();
    try {
      await this.#device.append(zone, bytes);
      this.#bytes += bytes.length;
    } finally {
      if (--this.#pending === 0) this.#busyMs += performance.now() - this.#busySince;
    }
  }

  read(zone: number, page: number, pages: number, into?: Uint8Array): Promise<Uint8Array> {
    return this.#device.read(zone, page, pages, into);
  }

  reset(zone: number): Promise<void> {
    return this.#device.reset(zone);
  }

  sync(): Promise<void> {
    return this.#device.sync();
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  written(zone: number): number {
    return this.#device.written(zone);
  }
}
