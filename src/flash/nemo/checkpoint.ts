/**
 * What is in RAM at a close and comes back at the next open: the objects not flushed yet, which objects were read, and the filters
 * of the index group under way. It is good for one open only, and a kill leaves none.
 *
 * Little-endian: failures u32, set groups since cooling u32, parts u32; per set number, bytes in front u16 and in rear u16 and
 * these entries; with part 1 the hotness words; with part 2 the filters of each set number.
 */
import { PAGE_BYTES } from "../device/zone-device.ts";
import { rowBytesOf } from "../format/filter.ts";
import { ENTRY_BYTES, firstEntry, nextEntry, SET_CAPACITY, SET_HEADER_BYTES } from "../format/set-page.ts";
import { CheckpointReader, CheckpointWriter, checkpointCapacity } from "./checkpoint-stream.ts";
import { flushSetGroup } from "./flushing.ts";
import type { SetGroup } from "./set-group.ts";
import type { NemoState } from "./state.ts";

const META_BYTES = 12;
const LENGTHS_BYTES = 4;
const HOTNESS_PART = 1;
const INDEX_PART = 2;

/** Nothing where no zones are kept for it. @throws FlashError `read-only` */
export async function writeCheckpoint(state: NemoState): Promise<void> {
  const { shape, ram, hotness, index } = state;
  if (shape.checkpointZones === 0) return;
  const capacity = checkpointCapacity(state);
  // A front and a rear that are too full for the zones kept: what is left after a flush fits one zone.
  if (objectBytes(state) > capacity) await flushSetGroup(state, ram.rotate());
  let left = capacity - objectBytes(state);
  let parts = 0;
  for (const [part, bytes] of [
    [INDEX_PART, shape.sets * filterBytes(state)],
    [HOTNESS_PART, hotness.words.byteLength],
  ]) {
    if (bytes > left) continue;
    left -= bytes;
    parts |= part;
  }
  const writer = new CheckpointWriter(state);
  await writer.write(meta(state, parts));
  const scratch = new Uint8Array(LENGTHS_BYTES + 2 * SET_CAPACITY);
  for (let s = 0; s < shape.sets; s++) {
    const inFront = copyEntries(ram.front, s, scratch, LENGTHS_BYTES);
    const inRear = ram.rear === undefined ? 0 : copyEntries(ram.rear, s, scratch, LENGTHS_BYTES + inFront);
    new Uint16Array(scratch.buffer, 0, 2).set([inFront, inRear]);
    await writer.write(scratch.subarray(0, LENGTHS_BYTES + inFront + inRear));
  }
  if ((parts & HOTNESS_PART) !== 0) await writer.write(bytesOf(hotness.words));
  if ((parts & INDEX_PART) !== 0) {
    for (let s = 0; s < shape.sets; s++) {
      const at = index.group.at(s);
      await writer.write(index.group.bytes.subarray(at, at + filterBytes(state)));
    }
  }
  await writer.end();
}

/** Whether there was one, and whether it told the filters of the index group under way. A damaged one counts as none. */
export async function readCheckpoint(
  state: NemoState,
): Promise<{ readonly found: boolean; readonly filters: boolean }> {
  const reader = await CheckpointReader.open(state);
  if (reader === undefined) return { found: false, filters: false };
  const parts = await readAll(state, reader);
  if (parts !== undefined) return { found: true, filters: (parts & INDEX_PART) !== 0 };
  const { ram, hotness } = state;
  ram.front.clear();
  ram.rear?.clear();
  ram.failures = 0;
  hotness.words.fill(0);
  state.sinceCooling = 0;
  return { found: true, filters: false };
}

/** So that it is not read twice: what is put from now on would be older than it. @throws FlashError `read-only` */
export async function invalidateCheckpoint(state: NemoState): Promise<void> {
  const { device, shape } = state;
  await device.reset(shape.firstCheckpointZone);
  // On a file a reset zone still shows its old pages after a kill.
  await device.append(shape.firstCheckpointZone, new Uint8Array(PAGE_BYTES));
}

/** The parts read, or undefined at the first damage. */
async function readAll(state: NemoState, reader: CheckpointReader): Promise<number | undefined> {
  const { shape, ram, hotness, index } = state;
  const numbers = new Uint32Array(META_BYTES / 4);
  if (!(await reader.read(bytesOf(numbers)))) return undefined;
  const [failures, sinceCooling, parts] = numbers;
  const lengths = new Uint16Array(2);
  const scratch = new Uint8Array(SET_HEADER_BYTES + SET_CAPACITY);
  for (let s = 0; s < shape.sets; s++) {
    if (!(await reader.read(bytesOf(lengths)))) return undefined;
    for (const [i, group] of [ram.front, ram.rear].entries()) {
      if (lengths[i] > SET_CAPACITY) return undefined;
      const entries = scratch.subarray(0, SET_HEADER_BYTES + lengths[i]);
      if (!(await reader.read(entries.subarray(SET_HEADER_BYTES)))) return undefined;
      if (group !== undefined && !addEntries(group, s, entries)) return undefined;
    }
  }
  if ((parts & HOTNESS_PART) !== 0 && !(await reader.read(bytesOf(hotness.words)))) return undefined;
  if ((parts & INDEX_PART) !== 0) {
    for (let s = 0; s < shape.sets; s++) {
      const at = index.group.at(s);
      if (!(await reader.read(index.group.bytes.subarray(at, at + filterBytes(state))))) return undefined;
    }
  }
  ram.failures = failures;
  state.sinceCooling = sinceCooling;
  return parts;
}

function addEntries(group: SetGroup, s: number, entries: Uint8Array): boolean {
  for (let entry = firstEntry(0); entry < entries.length; entry = nextEntry(entries, entry)) {
    if (entry + ENTRY_BYTES > entries.length || nextEntry(entries, entry) > entries.length) return false;
    if (!group.appendCopy(s, entries, entry)) return false;
  }
  return true;
}

function copyEntries(group: SetGroup, s: number, to: Uint8Array, at: number): number {
  const begin = firstEntry(group.at(s));
  const used = group.used(s);
  to.set(group.bytes.subarray(begin, begin + used), at);
  return used;
}

function meta(state: NemoState, parts: number): Uint8Array {
  return bytesOf(new Uint32Array([state.ram.failures, state.sinceCooling, parts]));
}

function objectBytes(state: NemoState): number {
  return META_BYTES + LENGTHS_BYTES * state.shape.sets + state.ram.entryBytes;
}

/** Bytes of each set number's filters in the index group in RAM. */
function filterBytes({ shape, pool }: NemoState): number {
  return pool.next % shape.groupSetGroups === 0 ? 0 : rowBytesOf(shape.groupSetGroups) * shape.filter.bits;
}

function bytesOf(numbers: Uint32Array | Uint16Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
