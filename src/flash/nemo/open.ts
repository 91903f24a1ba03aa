/**
 * Opens a Nemo cache: finds the set groups that were written whole, their index, and what a clean close left. Reads headers and
 * footers, and in full only set groups of which no index group tells; a set group cut off by a kill is dropped.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { readFrame, sameParameters, type ZoneFrame, type ZoneKind } from "../format/zone-frame.ts";
import { invalidateCheckpoint, readCheckpoint } from "./checkpoint.ts";
import { NemoEngine } from "./engine.ts";
import { writeIndexGroup } from "./flushing.ts";
import { type NemoOptions, shapeOf } from "./options.ts";
import { emptyState, type NemoState } from "./state.ts";

/** Zones whose frames are read at once. */
const FRAMES_AT_ONCE = 32;

interface FoundZone {
  readonly frame: ZoneFrame;
  /** Its footer is there: it was written to the end. */
  readonly whole: boolean;
}

/**
 * An empty device, or one that this cache wrote: the engine owns it from then on and closes it. Zones of another salt count
 * as empty.
 * @throws FlashError `bad-options`, `other-parameters`; the device is left open
 */
export async function openNemo(device: ZoneDevice, options: NemoOptions = {}): Promise<NemoEngine> {
  const before = { ...device.counters };
  const state = emptyState(device, shapeOf(device, options));
  const zones = await findZones(state);
  findSetGroups(state, zones);
  let readOnly = await whyReadOnly(restoreIndex(state, zones));
  const checkpoint = await readCheckpoint(state);
  if (!checkpoint.filters) await rebuildGroup(state, state.index.groupNumber);
  if (checkpoint.found) readOnly ??= await whyReadOnly(invalidateCheckpoint(state));
  return new NemoEngine(state, before, readOnly);
}

/** A device that cannot be written to is still good for gets. */
async function whyReadOnly(writing: Promise<void>): Promise<string | undefined> {
  try {
    await writing;
    return undefined;
  } catch (error) {
    if (error instanceof FlashError && error.kind === "read-only") return error.message;
    throw error;
  }
}

/** What lies in the zones of set groups and of index groups, by zone. */
async function findZones(state: NemoState): Promise<(FoundZone | undefined)[]> {
  const { shape } = state;
  const zones: (FoundZone | undefined)[] = [];
  const count = shape.setGroups + shape.indexZones;
  for (let first = 0; first < count; first += FRAMES_AT_ONCE) {
    const reads: Promise<FoundZone | undefined>[] = [];
    for (let zone = first; zone < Math.min(first + FRAMES_AT_ONCE, count); zone++) {
      reads.push(findZone(state, zone, zone < shape.setGroups ? "set-group" : "index"));
    }
    zones.push(...(await Promise.all(reads)));
  }
  return zones;
}

async function findZone(state: NemoState, zone: number, kind: ZoneKind): Promise<FoundZone | undefined> {
  const header = await frameAt(state, zone, 0, "header");
  const footer = await frameAt(state, zone, state.shape.sets + 1, "footer");
  // Two of different writings: the later one did not get to its end.
  if (header && footer && (header.sequence !== footer.sequence || header.opening !== footer.opening)) {
    state.opening = Math.max(state.opening, header.opening + 1);
    return undefined;
  }
  const frame = footer ?? header;
  if (frame?.kind !== kind) return undefined;
  state.opening = Math.max(state.opening, frame.opening + 1);
  return { frame, whole: footer !== undefined };
}

/** Undefined where there is none, or one of another salt. @throws FlashError `other-parameters` */
async function frameAt(
  state: NemoState,
  zone: number,
  page: number,
  which: "header" | "footer",
): Promise<ZoneFrame | undefined> {
  const { device, shape } = state;
  if (device.written(zone) < (page + 1) * PAGE_BYTES) return undefined;
  const bytes = await device.read(zone, page, 1).catch(() => undefined);
  const frame = bytes === undefined ? undefined : readFrame(bytes, 0, which);
  if (frame?.salt !== shape.salt) return undefined;
  if (!sameParameters(frame.parameters, shape.parameters)) {
    const [was, is] = [frame.parameters, shape.parameters].map((parameters) => JSON.stringify(parameters));
    throw new FlashError(
      "other-parameters",
      `the cache was made with ${was} and opened with ${is}: open it with those`,
    );
  }
  return frame;
}

/**
 * The newest whole set group and those before it without a gap. One without a footer is whole all the same when a later one was
 * begun; a gap means that a newer value than those before it may be lost, so they are not used.
 */
function findSetGroups({ pool, shape }: NemoState, zones: readonly (FoundZone | undefined)[]): void {
  let newest = -1;
  for (let zone = 0; zone < shape.setGroups; zone++) {
    const found = zones[zone];
    if (found?.whole && found.frame.sequence % shape.setGroups === zone)
      newest = Math.max(newest, found.frame.sequence);
  }
  pool.next = newest + 1;
  pool.oldest = pool.next;
  while (pool.oldest > 0 && !pool.isFull) {
    const zone = pool.zoneOf(pool.oldest - 1);
    const frame = zones[zone]?.frame;
    if (frame?.sequence !== pool.oldest - 1) break;
    pool.objects[zone] = frame.objects;
    pool.openings[zone] = frame.opening;
    pool.oldest--;
  }
}

/** Writes again what index groups are missing: at most the one during whose writing the cache was killed, unless of damage. */
async function restoreIndex(state: NemoState, zones: readonly (FoundZone | undefined)[]): Promise<void> {
  const { index, pool, shape } = state;
  const current = Math.floor(pool.next / shape.groupSetGroups);
  for (let group = Math.floor(pool.oldest / shape.groupSetGroups); group < current; group++) {
    const found = zones[index.zoneOf(group)];
    if (found?.whole && found.frame.sequence === group) continue;
    index.groupNumber = group;
    await rebuildGroup(state, group);
    try {
      await writeIndexGroup(state);
    } catch (error) {
      // Nothing tells what its set groups hold: they, and all older ones, are as good as gone.
      pool.oldest = Math.min(pool.next, (group + 1) * shape.groupSetGroups);
      index.groupNumber = current;
      throw error;
    }
  }
  index.groupNumber = current;
}

/** Fills the index group in RAM from the sets themselves. */
async function rebuildGroup(state: NemoState, group: number): Promise<void> {
  const { pool, shape, index } = state;
  index.group.clear();
  const begin = group * shape.groupSetGroups;
  const end = Math.min(pool.next, begin + shape.groupSetGroups);
  for (let sequence = Math.max(begin, pool.oldest); sequence < end; sequence++)
    await rebuildFilters(state, sequence, sequence - begin);
}

async function rebuildFilters(state: NemoState, sequence: number, place: number): Promise<void> {
  const { pool, shape, index, slice, counts } = state;
  const sets = slice.length / PAGE_BYTES;
  for (let first = 0; first < shape.sets; first += sets) {
    const count = Math.min(sets, shape.sets - first);
    const read = await pool.readSets(sequence, first, count, slice).catch(() => undefined);
    for (let i = 0; i < count; i++) {
      if (read !== undefined && pool.isSet(sequence, first + i, slice, i * PAGE_BYTES)) {
        index.group.write(first + i, place, slice, i * PAGE_BYTES);
        continue;
      }
      counts.readErrors++;
      index.group.claimAll(first + i, place);
    }
  }
}
