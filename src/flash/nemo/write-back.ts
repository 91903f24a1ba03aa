/**
 * What becomes of an evicted set group's objects: those of cached set numbers go to the set group that is about to be written, as
 * far as it has room, those that were read first. Resetting the evicted zone is not done here.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import {
  endOfEntries,
  entryBytes,
  entryHigh,
  entryLow,
  firstEntry,
  isTombstone,
  nextEntry,
  SET_CAPACITY,
} from "../format/set-page.ts";
import type { SetGroup } from "./set-group.ts";
import type { NemoState } from "./state.ts";

/** @returns objects copied from the set group `victim` into `out` */
export async function writeBack(state: NemoState, victim: number, out: SetGroup): Promise<number> {
  const { shape, index, pool, slice, counts } = state;
  const { fates } = counts;
  const before = fates.writtenBackHot + fates.writtenBackCold;
  const sets = slice.length / PAGE_BYTES;
  for (let first = 0; first < shape.sets; first += sets) {
    const count = Math.min(sets, shape.sets - first);
    if (!anyCached(state, first, count)) continue;
    // One sequential read: faster than the cached half of its pages one by one.
    try {
      await pool.readSets(victim, first, count, slice);
    } catch {
      counts.readErrors++;
      continue;
    }
    for (let i = 0; i < count; i++) {
      const s = first + i;
      if (!index.cache.has(s)) continue;
      if (pool.isSet(victim, s, slice, i * PAGE_BYTES)) copySet(state, victim, s, i * PAGE_BYTES, out);
      else counts.readErrors++;
    }
  }
  return fates.writtenBackHot + fates.writtenBackCold - before;
}

function anyCached(state: NemoState, first: number, count: number): boolean {
  for (let s = first; s < first + count; s++) if (state.index.cache.has(s)) return true;
  return false;
}

/** Hot objects first: what room they leave is for the others. */
function copySet(state: NemoState, victim: number, s: number, at: number, out: SetGroup): void {
  const { fates } = state.counts;
  fates.writtenBackHot += copyObjects(state, victim, s, at, out, true);
  if (state.shape.writeBack === "hot-and-cold") {
    fates.writtenBackCold += copyObjects(state, victim, s, at, out, false);
  }
}

function copyObjects(state: NemoState, victim: number, s: number, at: number, out: SetGroup, hot: boolean): number {
  const { slice, hotness, ram, index, pool, shape, counts } = state;
  const end = endOfEntries(slice, at);
  let copied = 0;
  let place = 0;
  for (let entry = firstEntry(at); entry < end; entry = nextEntry(slice, entry), place++) {
    // Of what a tombstone hides nothing is left when it is the oldest.
    if (isTombstone(slice, entry) || hotness.has(victim, s, place) !== hot) continue;
    // Before the filters, which take longer than all else here: most cold objects find no room.
    if (out.used(s) + entryBytes(slice, entry) > SET_CAPACITY) continue;
    if (ram.holdsSame(s, slice, entry)) continue;
    if (shape.strict && index.mayHold(s, entryLow(slice, entry), entryHigh(slice, entry), victim + 1, pool.next)) {
      counts.staleNotWrittenBack++;
      continue;
    }
    if (out.appendCopy(s, slice, entry)) copied++;
  }
  return copied;
}
