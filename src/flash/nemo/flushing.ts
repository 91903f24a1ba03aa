/**
 * One flush: the oldest set group makes room, what was hot of it joins the new one, the new one is written in one go, and after
 * enough of them their index group. Flushes come one after another; what has gone wrong is thrown and not tried again.
 */
import { FlashError } from "../errors.ts";
import { sealPage } from "../format/sealed-page.ts";
import { sealSet } from "../format/set-page.ts";
import type { SetGroup } from "./set-group.ts";
import { frameOf, type NemoState } from "./state.ts";
import { writeBack } from "./write-back.ts";
import { writeZone } from "./zone-writing.ts";

/** Frames and sets have 32 bits for a set group's number: enough to write a petabyte in the smallest zones of a file. */
const MOST_SET_GROUPS = 2 ** 32;

/** Writes `state.ram.out`. @throws FlashError `read-only`: `out` stays where it is and can be read */
export async function flushSetGroup(state: NemoState, out: SetGroup): Promise<void> {
  const { counts, pool, shape, ram, index } = state;
  if (pool.next >= MOST_SET_GROUPS)
    throw new FlashError("read-only", "the cache has used up the numbers of its zones: make a new one");
  const fresh = out.objects;
  const freshBytes = out.entryBytes;
  if (pool.isFull) await evictOldest(state, out);
  const filledBytes = out.entryBytes;
  await writeSetGroup(state, out);
  pool.add(out.objects, state.opening);
  ram.written();
  counts.fates.flushed += fresh;
  counts.freshBytes += freshBytes;
  counts.filledBytes += filledBytes;
  counts.setGroupsWritten++;
  if (pool.next % shape.groupSetGroups === 0) {
    await writeIndexGroup(state);
    index.groupWritten();
  }
  if (++state.sinceCooling >= shape.coolingSetGroups) cool(state);
}

/** Writes the index group in RAM to its zone, and changes nothing else. @throws FlashError `read-only` */
export async function writeIndexGroup(state: NemoState): Promise<void> {
  const { index, device } = state;
  const { bytes } = index.group;
  const number = index.groupNumber;
  const frame = frameOf(state, "index", number, 0);
  await writeZone(device, index.zoneOf(number), bytes, frame, (s, at) => sealPage(bytes, at, "index", number, s));
  state.counts.indexGroupsWritten++;
}

async function evictOldest(state: NemoState, out: SetGroup): Promise<void> {
  const { pool, shape, hotness, counts } = state;
  const victim = pool.oldest;
  const zone = pool.zoneOf(victim);
  const kept = shape.writeBack === "off" ? 0 : await writeBack(state, victim, out);
  counts.fates.evictedCold += pool.objects[zone] - kept;
  hotness.forget(victim);
  pool.dropOldest();
}

async function writeSetGroup(state: NemoState, out: SetGroup): Promise<void> {
  const { pool, shape, index, device, opening } = state;
  const sequence = pool.next;
  const place = sequence % shape.groupSetGroups;
  const frame = frameOf(state, "set-group", sequence, out.objects);
  const { bytes } = out;
  await writeZone(device, pool.zoneOf(sequence), bytes, frame, (s, at) => {
    sealSet(bytes, at, sequence, opening);
    index.group.write(s, place, bytes, at);
  });
}

/** What was read long ago is forgotten, unless its set number is still being asked for. */
function cool(state: NemoState): void {
  state.sinceCooling = 0;
  for (let s = 0; s < state.shape.sets; s++) if (!state.index.cache.has(s)) state.hotness.cool(s);
}
