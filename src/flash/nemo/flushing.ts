/**
 * One flush: the oldest set group makes room, what was hot of it joins the new one, the new one is written in one go, and after
 * enough of them their index group. Flushes come one after another; what has gone wrong is thrown and not tried again.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import { FlashError } from "../errors.ts";
import { pageChecksum, sealPage } from "../format/sealed-page.ts";
import { sealSet, setChecksum } from "../format/set-page.ts";
import { bodyChecksumOf, writeFooter, writeHeader } from "../format/zone-frame.ts";
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
  const { index, shape, device } = state;
  const { bytes } = index.group;
  const number = index.groupNumber;
  const frame = frameOf(state, "index", number, 0);
  const checksums = new Uint32Array(shape.sets + 1);
  await writeZone(
    device,
    index.zoneOf(number),
    bytes,
    (first, end) => {
      for (let page = first; page < end; page++) {
        if (page === 0) writeHeader(bytes, 0, frame);
        else sealPage(bytes, page * PAGE_BYTES, "index", number, page - 1);
        checksums[page] = pageChecksum(bytes, page * PAGE_BYTES);
      }
    },
    () => writeFooter(bytes, bytes.length - PAGE_BYTES, frame, bodyChecksumOf(checksums)),
  );
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
  const checksums = new Uint32Array(shape.sets + 1);
  const { bytes } = out;
  await writeZone(
    device,
    pool.zoneOf(sequence),
    bytes,
    (first, end) => {
      for (let page = first; page < end; page++) {
        const at = page * PAGE_BYTES;
        if (page === 0) {
          writeHeader(bytes, at, frame);
          checksums[0] = pageChecksum(bytes, at);
          continue;
        }
        sealSet(bytes, at, sequence, opening);
        checksums[page] = setChecksum(bytes, at);
        index.group.write(page - 1, place, bytes, at);
      }
    },
    () => writeFooter(bytes, bytes.length - PAGE_BYTES, frame, bodyChecksumOf(checksums)),
  );
}

/** What was read long ago is forgotten, unless its set number is still being asked for. */
function cool(state: NemoState): void {
  state.sinceCooling = 0;
  for (let s = 0; s < state.shape.sets; s++) if (!state.index.cache.has(s)) state.hotness.cool(s);
}
