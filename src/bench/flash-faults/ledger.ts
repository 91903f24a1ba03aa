/**
 * What the journals of a file's processes allow its next reader to see, and what they oblige it to find. It believes that a journal's
 * author did what it says, and nothing of the cache.
 *
 * A version that is seen may not be older than the last one that was flushed, whose flush was acknowledged; newer ones may have
 * been lost with a kill, but once an older one was seen they may not return. What was found after a flush, and not changed since,
 * must be found for as long as nothing is written over where it lies.
 */
import type { JournalLine, Seen } from "./journal.ts";

interface Version {
  readonly version: number;
  readonly isDelete: boolean;
}

/** Between two flushes: the zones that were written to then, and whether they all still stand. */
interface Era {
  readonly places: Set<number>;
  stands: boolean;
}

interface KeyState {
  /** Ascending; the first is the oldest that may be seen. */
  versions: Version[];
  /** Where it was when it was found after a flush; undefined when it was changed since. */
  keptIn: Era | undefined;
}

/** Where a key's bytes lie for certain, if that is known: the set of an engine without zones. */
export type PlaceOfKey = (key: number) => number;

export interface LedgerFigures {
  /** Versions seen and compared. */
  seen: number;
  /** Sweeps that had to find objects, and how many they had to find. */
  sweeps: number;
  obliged: number;
  flushes: number;
}

const NEVER: Version = { version: 0, isDelete: true };

export class Ledger {
  readonly figures: LedgerFigures = { seen: 0, sweeps: 0, obliged: 0, flushes: 0 };
  readonly #keys = new Map<number, KeyState>();
  readonly #objectPlaces: number;
  readonly #placeOfKey: PlaceOfKey | undefined;
  /** Keys that the present process has changed or seen: for them nothing but the newest is right. */
  #certain = new Set<number>();
  /** Those among them that it has not flushed. */
  #unflushed = new Set<number>();
  #era: Era = { places: new Set(), stands: true };
  #eras: Era[] = [];
  /** Keys seen since the process opened the file, until it has asked for all. */
  #found = new Map<number, number>();

  /** @param objectPlaces zones from this number on hold no objects */
  constructor(objectPlaces: number, placeOfKey?: PlaceOfKey) {
    this.#objectPlaces = objectPlaces;
    this.#placeOfKey = placeOfKey;
  }

  /** A process was killed: what it held in RAM is gone. */
  killed(): void {
    this.#certain = new Set();
    this.#unflushed = new Set();
    this.#found = new Map();
    // What it wrote last without a flush keeps nobody.
    this.#era = { places: new Set(), stands: true };
  }

  /** @param mustFind versions that the file itself shows; the sweep in these lines has to find them. @throws Error at the first thing that is wrong */
  read(lines: readonly JournalLine[], mustFind?: ReadonlyMap<number, number>): void {
    let fromFile = mustFind;
    for (const line of lines) {
      switch (line.what) {
        case "opened":
          this.#found = new Map();
          break;
        case "found":
          for (const seen of line.seen) this.#see(seen);
          break;
        case "swept":
          this.#endSweep(fromFile);
          fromFile = undefined;
          break;
        case "changing":
          this.#change(line);
          break;
        case "writing":
          this.#write(line.place, line.atBegin);
          break;
        case "flushed":
          this.#flush(line.version);
          break;
        case "kept":
          this.#keep(line.seen);
          break;
        case "wrong":
          throw new Error(line.text);
      }
    }
  }

  #see({ key, version }: Seen): void {
    const state = this.#of(key);
    const at = state.versions.findIndex((known) => known.version === version);
    if (at < 0 || state.versions[at].isDelete) {
      const allowed = state.versions.map((known) => `${known.version}${known.isDelete ? " (deleted)" : ""}`);
      throw new Error(`key ${key}: version ${version} was seen, and could only be ${allowed.join(", ")}`);
    }
    if (this.#certain.has(key) && at !== state.versions.length - 1)
      throw new Error(`key ${key}: version ${version} was seen after ${state.versions.at(-1)?.version}`);
    state.versions.length = at + 1;
    this.#certain.add(key);
    this.#unflushed.add(key);
    this.#found.set(key, version);
    this.figures.seen++;
  }

  #endSweep(mustFind: ReadonlyMap<number, number> | undefined): void {
    let obliged = 0;
    for (const [key, state] of this.#keys) {
      const newest = state.versions[state.versions.length - 1];
      const inFile = mustFind?.get(key);
      if (state.keptIn?.stands !== true && inFile === undefined) continue;
      obliged++;
      const found = this.#found.get(key);
      const expected = state.keptIn?.stands === true ? newest.version : inFile;
      if (found !== expected)
        throw new Error(
          `key ${key}: version ${expected} is in a completed zone, and ${found === undefined ? "nothing" : found} was found`,
        );
    }
    for (const key of mustFind?.keys() ?? [])
      if (!this.#keys.has(key)) throw new Error(`key ${key} is in the file and was never put`);
    this.figures.obliged += obliged;
    if (obliged > 0) this.figures.sweeps++;
  }

  #change({ version, changes }: Extract<JournalLine, { what: "changing" }>): void {
    for (const [i, { key, isDelete }] of changes.entries()) {
      const state = this.#of(key);
      state.versions.push({ version: version + i, isDelete });
      state.keptIn = undefined;
      this.#certain.add(key);
      this.#unflushed.add(key);
    }
  }

  #write(place: number, atBegin: boolean): void {
    if (place >= this.#objectPlaces) return;
    this.#era.places.add(place);
    if (!atBegin) return;
    for (const era of this.#eras) if (era.places.has(place)) era.stands = false;
    this.#eras = this.#eras.filter((era) => era.stands);
  }

  #flush(version: number): void {
    this.figures.flushes++;
    for (const key of this.#unflushed) {
      const state = this.#of(key);
      const last = state.versions.findLastIndex((known) => known.version <= version);
      if (last > 0) state.versions.splice(0, last);
    }
    this.#unflushed = new Set();
  }

  #keep(seen: readonly Seen[]): void {
    const zones = this.#era;
    if (this.#placeOfKey === undefined) this.#eras.push(zones);
    for (const { key, version } of seen) {
      this.#see({ key, version });
      this.#unflushed.delete(key);
      const state = this.#of(key);
      state.keptIn = this.#placeOfKey === undefined ? zones : this.#eraOfPlace(this.#placeOfKey(key));
    }
    this.#era = { places: new Set(), stands: true };
  }

  #eraOfPlace(place: number): Era {
    const known = this.#eras.find((era) => era.places.has(place));
    if (known !== undefined) return known;
    const era = { places: new Set([place]), stands: true };
    this.#eras.push(era);
    return era;
  }

  #of(key: number): KeyState {
    let state = this.#keys.get(key);
    if (state === undefined) {
      state = { versions: [NEVER], keptIn: undefined };
      this.#keys.set(key, state);
    }
    return state;
  }
}
