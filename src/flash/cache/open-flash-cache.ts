/**
 * Opens a flash cache for users of the library: makes or finds its file, picks zones that fit its size, and puts an engine and the
 * RAM in front together. Engines of the bench alone, which keep nothing across a restart, cannot be opened here.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import type { FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { type LogCacheOptions, openLogCache } from "../log-cache/log-cache.ts";
import { openNemo } from "../nemo/open.ts";
import type { NemoOptions } from "../nemo/options.ts";
import { openSetCache, type SetCacheOptions } from "../set-cache/set-cache.ts";
import { FlashCache, type FlashCacheOptions } from "./flash-cache.ts";

export interface OpenFlashCacheOptions extends FlashCacheOptions {
  /** The cache's file, made when it does not exist; its directory must. Locked while the cache is open. */
  readonly path: string;
  /** Of the file, from 16 MiB on. To open a file again it has to be the same. */
  readonly sizeBytes: number;
  /**
   * `nemo`: few writes and little RAM, for millions of tiny objects. `log`: the fewest writes and reads, with about 10 bytes of RAM
   * an object. `set`: the least RAM, and 4 KiB written for every object.
   * @default "nemo"
   */
  readonly engine?: "nemo" | "log" | "set";
  /** Bytes written as one unit; nemo keeps three such units in RAM. @default a 256th of the size, 256 KiB to 64 MiB */
  readonly zoneBytes?: number;
  /** Of that engine, where it is the one. @default its own */
  readonly nemo?: NemoOptions;
  /** Likewise. */
  readonly log?: LogCacheOptions;
  /** Likewise. */
  readonly set?: SetCacheOptions;
  /** Gives the space of emptied zones back to the file system. @default false: a full disk shows when the file is made */
  readonly punchHoles?: boolean;
  /** Past the page cache where the file system allows it. @default true */
  readonly direct?: boolean;
  /** Told what is slower or less safe than it could be, one sentence each. @default nobody */
  readonly onNote?: (text: string) => void;
}

const LEAST_BYTES = 16 * 2 ** 20;
const LEAST_ZONE_BYTES = 256 * 2 ** 10;
const MOST_ZONE_BYTES = 64 * 2 ** 20;
/** Between the 128 and 512 set groups with which nemo's buffers are small and its reads few. */
const ZONES = 256;

/** A power of two with which a cache of this size has about 256 zones. */
export function usualZoneBytes(sizeBytes: number): number {
  const zoneBytes = 2 ** Math.round(Math.log2(sizeBytes / ZONES));
  return Math.min(MOST_ZONE_BYTES, Math.max(LEAST_ZONE_BYTES, zoneBytes));
}

/**
 * @throws FlashError `not-a-cache` for another file (which is left alone), `other-parameters`, `in-use`, `read-only` when there is
 * no space, `bad-options`
 */
export async function openFlashCache(options: OpenFlashCacheOptions): Promise<FlashCache> {
  const { sizeBytes, onNote } = options;
  if (!(sizeBytes >= LEAST_BYTES))
    throw new FlashError("bad-options", `A flash cache has ${LEAST_BYTES} bytes or more, not ${sizeBytes}.`);
  // Loads native code, which those who bring a device of their own do without.
  const device = await openDevice(options);
  try {
    for (const text of device.downgrades) onNote?.(text);
    return new FlashCache(await device.openEngine(), options);
  } catch (error) {
    await device.close();
    throw error;
  }
}

interface EngineFile {
  readonly downgrades: readonly string[];
  openEngine(): Promise<FlashEngine>;
  close(): Promise<void>;
}

async function openDevice(options: OpenFlashCacheOptions): Promise<EngineFile> {
  const { path, sizeBytes, engine = "nemo", direct = true, punchHoles = false } = options;
  // Zones of one engine make no sense to another.
  const file = { path, direct, label: `engine ${engine}` };
  if (engine === "set") {
    const { openBlockFile } = await import("../device/block-file.ts");
    const device = await openBlockFile({ ...file, blocks: Math.floor(sizeBytes / PAGE_BYTES) });
    return engineFile(device, () => openSetCache(device, options.set));
  }
  if (engine !== "nemo" && engine !== "log")
    throw new FlashError(
      "bad-options",
      `There is no engine ${engine satisfies never} to open; there are nemo, log and set.`,
    );
  const zoneBytes = options.zoneBytes ?? usualZoneBytes(sizeBytes);
  const { openFileZones } = await import("../device/file-zones.ts");
  const device = await openFileZones({ ...file, punchHoles, zoneBytes, zones: Math.floor(sizeBytes / zoneBytes) });
  return engineFile(device, () =>
    engine === "nemo" ? openNemo(device, options.nemo) : openLogCache(device, options.log),
  );
}

function engineFile(device: Omit<EngineFile, "openEngine">, openEngine: () => Promise<FlashEngine>): EngineFile {
  return { downgrades: device.downgrades, openEngine, close: () => device.close() };
}
