/**
 * What the fault runs open: an engine that claims to find its objects again, on a file of a few megabytes or more. Small, so that
 * every life of a process writes all over it; the shapes differ, so that zone ends, index groups and checkpoints meet kills at all
 * places.
 */

import type { BlockDevice } from "../../flash/device/block-device.ts";
import { type BlockFile, openBlockFile } from "../../flash/device/block-file.ts";
import { type FileZones, openFileZones } from "../../flash/device/file-zones.ts";
import { PAGE_BYTES, type ZoneDevice } from "../../flash/device/zone-device.ts";
import type { FlashEngine } from "../../flash/engine.ts";
import { type LogCacheOptions, openLogCache } from "../../flash/log-cache/log-cache.ts";
import { openNemo } from "../../flash/nemo/open.ts";
import { type NemoOptions, shapeOf } from "../../flash/nemo/options.ts";
import { openSetCache } from "../../flash/set-cache/set-cache.ts";
import type { Randomness } from "../../predict/randomness.ts";

export const FAULT_ENGINES = ["nemo", "log", "set"] as const;
export type FaultEngine = (typeof FAULT_ENGINES)[number];

interface FileShape {
  readonly direct: boolean;
  readonly punchHoles: boolean;
  readonly zones: number;
  readonly zoneBytes: number;
}

export type Subject = FileShape &
  (
    | { readonly engine: "nemo"; readonly options: NemoOptions }
    | { readonly engine: "log"; readonly options: LogCacheOptions }
    /** Of as many blocks as the zones have pages. */
    | { readonly engine: "set" }
  );

/** About what fits a subject twice: objects are lost to others, and others are found. */
export function keysFor({ zones, zoneBytes }: FileShape): number {
  return Math.round((2 * zones * zoneBytes) / 350);
}

/** A shape that a file may have. */
export function randomSubject(engine: FaultEngine, random: Randomness): Subject {
  const one = <T>(...choices: readonly T[]): T => choices[Math.floor(random.next() * choices.length)];
  const file = {
    direct: random.next() < 0.7,
    punchHoles: random.next() < 0.2,
    zones: 12 + Math.floor(random.next() * 16),
    zoneBytes: one(6, 8, 12, 16) * PAGE_BYTES,
  };
  if (engine === "set") return { ...file, engine, zones: 5 };
  if (engine === "log") {
    const options = { readmitShare: one(0, 0, 0.2), bufferBytes: one(1, 3, 16) * PAGE_BYTES };
    return { ...file, engine, options };
  }
  const options: NemoOptions = {
    groupSetGroups: one(2, 3, 5, 8),
    checkpointZones: one(1, 2, 3),
    flushThreshold: one(0.05, 0.3, 1),
    writeBack: one("hot", "hot", "hot-and-cold", "off"),
    hotness: one(0.3, 1),
    indexCachedShare: one(0, 0.5, 1),
    filterFalsePositives: one(0.001, 0.05),
    bufferedSetGroups: random.next() < 0.8,
  };
  return { ...file, engine, options };
}

/** Lets somebody come between engine and device. */
export interface Between {
  zones(device: ZoneDevice): ZoneDevice;
  blocks(device: BlockDevice): BlockDevice;
}

const NOBODY: Between = { zones: (device) => device, blocks: (device) => device };

/** @throws FlashError */
export async function openSubject(path: string, subject: Subject, between = NOBODY): Promise<FlashEngine> {
  const { zones, zoneBytes, direct, punchHoles } = subject;
  if (subject.engine === "set") {
    const device: BlockFile = await openBlockFile({ path, direct, blocks: (zones * zoneBytes) / PAGE_BYTES });
    return openSetCache(between.blocks(device));
  }
  const device: FileZones = await openFileZones({ path, direct, punchHoles, zones, zoneBytes });
  const through = between.zones(device);
  return subject.engine === "nemo" ? openNemo(through, subject.options) : openLogCache(through, subject.options);
}

/** Zones below this number hold objects, the others indexes and checkpoints. */
export function objectZones(subject: Subject): number {
  return subject.engine === "nemo" ? shapeOf(subject, subject.options).setGroups : subject.zones;
}
