/** The parts of an open Nemo cache, as opening, flushing, writing back and checkpoints share them. */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { type EngineStats, noStats } from "../engine.ts";
import { entryHigh, entryLow } from "../format/set-page.ts";
import type { ZoneFrame, ZoneKind } from "../format/zone-frame.ts";
import { FilterIndex } from "./filter-index.ts";
import { Hotness } from "./hotness.ts";
import type { NemoShape } from "./options.ts";
import { RamGroups } from "./ram-groups.ts";
import { SetGroupPool } from "./set-group-pool.ts";
import { SLICE_BYTES } from "./zone-writing.ts";

/** What Nemo counts beside the figures that all engines have. */
export interface NemoCounts extends EngineStats {
  setGroupsWritten: number;
  indexGroupsWritten: number;
  /** Objects not written back because a newer set group may hold their key. */
  staleNotWrittenBack: number;
  /** Bytes of entries in the set groups written: new ones, and all. */
  freshBytes: number;
  filledBytes: number;
}

export interface NemoState {
  readonly device: ZoneDevice;
  readonly shape: NemoShape;
  readonly counts: NemoCounts;
  readonly pool: SetGroupPool;
  readonly index: FilterIndex;
  readonly hotness: Hotness;
  readonly ram: RamGroups;
  /** Sets of the set group that is written back or read again, a slice at a time. */
  readonly slice: Uint8Array;
  /** The how-manieth opening of this cache. */
  opening: number;
  /** Set groups written since the last cooling. */
  sinceCooling: number;
}

export function emptyState(device: ZoneDevice, shape: NemoShape): NemoState {
  const counts: NemoCounts = {
    ...noStats(),
    ...{ setGroupsWritten: 0, indexGroupsWritten: 0, staleNotWrittenBack: 0, freshBytes: 0, filledBytes: 0 },
  };
  const pool = new SetGroupPool(device, shape);
  const index = new FilterIndex(device, shape, counts);
  const mayBeOnFlash = (s: number, from: Uint8Array, entry: number) =>
    index.mayHold(s, entryLow(from, entry), entryHigh(from, entry), pool.oldest, pool.next) ||
    state.ram.outHoldsSame(s, from, entry);
  const state: NemoState = {
    ...{ device, shape, counts, pool, index, opening: 1, sinceCooling: 0 },
    hotness: new Hotness(shape.sets, shape.trackedSetGroups),
    ram: new RamGroups(shape, counts.fates, mayBeOnFlash),
    slice: new Uint8Array(Math.min(SLICE_BYTES, shape.sets * PAGE_BYTES)),
  };
  return state;
}

export function frameOf(state: NemoState, kind: ZoneKind, sequence: number, objects: number): ZoneFrame {
  const { salt, parameters } = state.shape;
  return { kind, salt, sequence, opening: state.opening, objects, parameters };
}
