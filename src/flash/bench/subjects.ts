/**
 * Engines as the bench runs them: with which settings, on which devices, simulated or a file, and how much of the flash each part
 * gets. The one place that knows how to open all of them.
 */
import { existsSync, rmSync } from "node:fs";
import { BlocksOnZones } from "../device/blocks-on-zones.ts";
import { PageMappedFtl } from "../device/page-mapped-ftl.ts";
import { SimulatedFdp } from "../device/simulated-fdp.ts";
import { SimulatedZns } from "../device/simulated-zns.ts";
import { type DeviceCounters, noCounters, PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import type { EngineName, FlashEngine } from "../engine.ts";
import { FlashError } from "../errors.ts";
import { Fairywren, type FairywrenOptions, openFairywren } from "../fairywren/fairywren.ts";
import { openKangaroo } from "../kangaroo/kangaroo.ts";
import { openLogCache } from "../log-cache/log-cache.ts";
import { openNemo } from "../nemo/open.ts";
import type { NemoOptions } from "../nemo/options.ts";
import { openSetCache } from "../set-cache/set-cache.ts";

/** In the order in which they run and are shown. */
export const ENGINE_NAMES = ["nemo", "set", "log", "kangaroo", "fairywren"] as const satisfies readonly EngineName[];

interface Named {
  /** What differs from the defaults; empty: nothing. */
  readonly variant: string;
}

/** `sets`: what the sets lie on, a drive that cleans by itself, or zones with cleaning in the engine. */
export type Subject = Named &
  (
    | { readonly engine: "nemo"; readonly options: NemoOptions }
    | { readonly engine: "log" }
    | { readonly engine: "set" }
    | { readonly engine: "kangaroo"; readonly sets: "drive" | "zones" }
    | { readonly engine: "fairywren"; readonly options: FairywrenOptions }
  );

/** Nemo's evaluation kept objects of 2,048 bytes at most; streams of the bench have no larger ones. */
const MOST_OBJECT_BYTES = 2048;
/** Share of the flash that Kangaroo's log has. */
const KANGAROO_LOG = 0.05;
/** Its log needs some zones to go round, however small the flash. */
const FEWEST_LOG_ZONES = 4;
/** Of the simulated drive, over what it shows: between the 7 % of consumer drives and the half that deployments leave free. */
const DRIVE_RESERVE = 0.2;
/** Of zones that are cleaned by the engine, as Kangaroo ran beside Nemo. */
const ZONES_RESERVE = 0.05;

/** In a reclaim unit: drives have large ones, of 6 GiB where zones are of 1 GiB. */
const UNIT_ZONES = 4;

/** What the row of Kangaroo is called whose sets lie on a drive that cleans by itself; that on zones has no name. */
const ON_A_DRIVE = "sets on a drive";

export function fairywren(variant: string, options: FairywrenOptions): Subject {
  return { engine: "fairywren", variant, options };
}

export function nemo(variant: string, options: NemoOptions): Subject {
  return { engine: "nemo", variant, options: { maxObjectBytes: MOST_OBJECT_BYTES, ...options } };
}

export function plainSubject(engine: EngineName): Subject {
  switch (engine) {
    case "nemo":
      return nemo("", {});
    case "log":
    case "set":
      return { engine, variant: "" };
    case "kangaroo":
      return { engine, variant: "", sets: "zones" };
    case "fairywren":
      return fairywren("", {});
    default:
      return engine satisfies never;
  }
}

/** The rows of an engine: Kangaroo's are two, because it was published on either. */
export function subjectsOf(engine: EngineName, isFile: boolean): readonly Subject[] {
  if (engine !== "kangaroo") return [plainSubject(engine)];
  const drive = { engine, variant: ON_A_DRIVE, sets: "drive" } as const;
  return isFile ? [drive] : [drive, plainSubject(engine)];
}

export interface SubjectPlace {
  /** Of all devices together. */
  readonly cacheBytes: number;
  readonly zoneBytes: number;
  /** A file to make instead of simulated flash. */
  readonly file?: string;
  /** One simulated drive for all devices of the engine, each with the next of so many handles. @default devices of their own */
  readonly fdpHandles?: number;
}

export interface OpenSubject {
  readonly engine: FlashEngine;
  /** In words, with its reserve. */
  readonly device: string;
  readonly counters: () => Readonly<DeviceCounters>;
  /** What only this engine counts. */
  readonly details: () => Readonly<Record<string, number>>;
  /** What of the device is less than it could be. */
  readonly notes: readonly string[];
  /** Deletes the files, after the engine was closed. */
  remove(): void;
}

/** @throws FlashError, `bad-options` also when the file is there already */
export async function openSubject(subject: Subject, place: SubjectPlace): Promise<OpenSubject> {
  const devices = new Devices(place);
  try {
    const engine = await openEngine(subject, place, devices);
    return {
      engine,
      device: devices.description,
      counters: () => devices.counters(),
      details: () => detailsOf(engine),
      notes: devices.notes,
      remove: () => devices.remove(),
    };
  } catch (error) {
    devices.remove();
    throw error;
  }
}

function detailsOf(engine: FlashEngine): Readonly<Record<string, number>> {
  if (engine instanceof Fairywren) {
    const { passiveShare, newObjectsPerSetWrite } = engine.stats().fairywren;
    return { passiveShare, newObjectsPerSetWrite };
  }
  return {};
}

async function openEngine(subject: Subject, place: SubjectPlace, devices: Devices): Promise<FlashEngine> {
  const zones = Math.floor(place.cacheBytes / place.zoneBytes);
  switch (subject.engine) {
    case "nemo":
      return openNemo(await devices.zones(zones), subject.options);
    case "log":
      return openLogCache(await devices.zones(zones));
    case "fairywren":
      return openFairywren(await devices.zones(zones), subject.options);
    case "set":
      return openSetCache(await devices.drive(place.cacheBytes));
    case "kangaroo": {
      const logZones = Math.max(FEWEST_LOG_ZONES, Math.round(KANGAROO_LOG * zones));
      const log = await devices.zones(logZones);
      const rest = zones - logZones;
      if (subject.sets === "drive") return openKangaroo({ log, sets: await devices.drive(rest * place.zoneBytes) });
      return openKangaroo({ log, sets: await devices.cleanedZones(rest) });
    }
    default:
      return subject satisfies never;
  }
}

/** The devices of one engine: made one by one, counted together. */
export class Devices {
  readonly notes: string[] = [];
  readonly #place: SubjectPlace;
  readonly #made: { readonly counters: Readonly<DeviceCounters> }[] = [];
  readonly #words: string[] = [];
  readonly #files: string[] = [];
  readonly #fdp: SimulatedFdp | undefined;

  constructor(place: SubjectPlace) {
    this.#place = place;
    if (place.fdpHandles !== undefined) this.#fdp = placementDrive(place, place.fdpHandles);
  }

  get description(): string {
    return [...new Set(this.#words)].join(" + ");
  }

  async zones(zones: number): Promise<ZoneDevice> {
    const { zoneBytes, file } = this.#place;
    if (this.#fdp !== undefined) {
      const handle = this.#nextHandle(this.#fdp);
      return this.#keep(this.#fdp.zones({ zones, zoneBytes, handle }), fdpWords(this.#fdp));
    }
    if (file === undefined) return this.#keep(new SimulatedZns({ zones, zoneBytes }), "simulated zones");
    const { openFileZones } = await import("../device/file-zones.ts");
    const device = await openFileZones({ path: this.#newFile(file), zones, zoneBytes });
    this.notes.push(...device.downgrades.map((text) => withoutPath(text, device.path)));
    return this.#keep(device, "zones in a file");
  }

  /** Overwritten in place; what the drive does about it is simulated. */
  async drive(bytes: number) {
    const { file } = this.#place;
    const blocks = Math.floor(bytes / PAGE_BYTES);
    if (this.#fdp !== undefined) {
      const handle = this.#nextHandle(this.#fdp);
      return this.#keep(this.#fdp.blocks({ blocks, handle }), fdpWords(this.#fdp));
    }
    if (file === undefined)
      return this.#keep(
        new PageMappedFtl({ blocks, overprovisioning: DRIVE_RESERVE }),
        `simulated drive, ${100 * DRIVE_RESERVE} % reserve`,
      );
    const { openBlockFile } = await import("../device/block-file.ts");
    const device = await openBlockFile({ path: this.#newFile(file), blocks });
    this.notes.push(...device.downgrades.map((text) => withoutPath(text, device.path)));
    return this.#keep(device, "blocks in a file");
  }

  /** Overwritten in place for the engine, appended and cleaned beneath it. */
  async cleanedZones(zones: number) {
    const { zoneBytes } = this.#place;
    const device = new SimulatedZns({ zones, zoneBytes });
    const pages = (zones * zoneBytes) / PAGE_BYTES;
    const blocks = Math.floor(Math.min((1 - ZONES_RESERVE) * pages, pages - (4 * zoneBytes) / PAGE_BYTES));
    return this.#keep(new BlocksOnZones(device, { blocks }), `simulated zones, ${100 * ZONES_RESERVE} % reserve`);
  }

  counters(): DeviceCounters {
    const sum = noCounters();
    for (const { counters } of this.#made)
      for (const name of Object.keys(sum) as (keyof DeviceCounters)[]) sum[name] += counters[name];
    return sum;
  }

  remove(): void {
    for (const file of this.#files) rmSync(file, { force: true });
  }

  #keep<Device extends { readonly counters: Readonly<DeviceCounters> }>(device: Device, words: string): Device {
    this.#made.push(device);
    this.#words.push(words);
    return device;
  }

  #nextHandle({ handles }: SimulatedFdp): number {
    return this.#made.length % handles;
  }

  /** @throws FlashError `bad-options`: whatever is there is not the bench's to remove */
  #newFile(file: string): string {
    const path = this.#files.length === 0 ? file : `${file}.${this.#files.length}`;
    if (existsSync(path))
      throw new FlashError(
        "bad-options",
        `${path} is there already; the bench makes a file of its own and removes it.`,
      );
    this.#files.push(path);
    return path;
  }
}

function placementDrive({ cacheBytes, zoneBytes }: SubjectPlace, handles: number): SimulatedFdp {
  const reclaimUnitBytes = UNIT_ZONES * zoneBytes;
  const units = Math.ceil(((1 + DRIVE_RESERVE) * cacheBytes) / reclaimUnitBytes);
  return new SimulatedFdp({ capacityBytes: cacheBytes, reclaimUnitBytes, reclaimUnits: units, handles });
}

function fdpWords({ handles }: SimulatedFdp): string {
  return `simulated drive, ${100 * DRIVE_RESERVE} % reserve, ${handles === 1 ? "one handle" : `${handles} handles`}`;
}

/** Folders of whoever ran it do not belong into a result. */
function withoutPath(text: string, path: string): string {
  return text.replaceAll(path, "the file");
}
