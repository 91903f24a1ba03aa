/**
 * A drive with zoned namespaces, simulated: its geometry and its limit of zones written side by side. The host cleans, so the
 * flash programs what the host writes and nothing more.
 */
import { PageMemory } from "./page-memory.ts";
import { SimulatedZones } from "./simulated-zones.ts";
import { checkGeometry } from "./zone-access.ts";
import { PAGE_BYTES } from "./zone-device.ts";

/** Writable bytes of a zone of Western Digital's ZN540: 275,712 pages of the 2,048 MiB that its addresses span. */
export const ZN540_ZONE_BYTES = 1077 * 2 ** 20;

export interface SimulatedZnsOptions {
  readonly zones: number;
  /** Writable bytes of a zone, whole pages. @default `ZN540_ZONE_BYTES` */
  readonly zoneBytes?: number;
  /** Zones begun and not full at most. @default 14, the ZN540's */
  readonly activeZones?: number;
  /** Keeps the bytes; without, every page reads as zeros. @default true */
  readonly store?: boolean;
}

export class SimulatedZns extends SimulatedZones {
  /** @throws FlashError `bad-options` */
  constructor({ zones, zoneBytes = ZN540_ZONE_BYTES, activeZones = 14, store = true }: SimulatedZnsOptions) {
    checkGeometry({ zones, zoneBytes });
    super({ zones, zoneBytes, activeZones, pages: new PageMemory((zones * zoneBytes) / PAGE_BYTES, store) });
  }
}
