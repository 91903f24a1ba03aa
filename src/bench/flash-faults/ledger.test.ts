import { describe, expect, test } from "vitest";
import type { JournalLine } from "./journal.ts";
import { Ledger } from "./ledger.ts";

const OBJECT_ZONES = 8;

const changing = (version: number, ...changes: string[]): JournalLine => ({
  what: "changing",
  version,
  changes: changes.map((text) => ({ key: Number(text.slice(1)), isDelete: text[0] === "d" })),
});
const seen = (what: "found" | "kept", ...pairs: [number, number][]): JournalLine => ({
  what,
  seen: pairs.map(([key, version]) => ({ key, version })),
});
const writing = (place: number): JournalLine => ({ what: "writing", place, atBegin: true });
const flushed = (version: number): JournalLine => ({ what: "flushed", version, unsavedBytes: 0 });
const opened: JournalLine = { what: "opened", ms: 1 };
const swept: JournalLine = { what: "swept" };

/** Key 1 was put twice and key 2 deleted, then flushed to zone 3; then both were changed again without a flush. */
function afterFlushAndMore(): Ledger {
  const ledger = new Ledger(OBJECT_ZONES);
  ledger.read([opened, swept, changing(10, "p1", "p2"), changing(12, "p1", "d2"), writing(3), flushed(13)]);
  ledger.read([seen("kept", [1, 12]), changing(14, "p1", "p2")]);
  ledger.killed();
  return ledger;
}

/** Keys 1 and 2 were put and found after their flush to zone 3. */
function afterKeeping(): Ledger {
  const ledger = new Ledger(OBJECT_ZONES);
  ledger.read([opened, swept, changing(10, "p1", "p2"), writing(3), flushed(11), seen("kept", [1, 10], [2, 11])]);
  ledger.killed();
  return ledger;
}

describe("the ledger of kills", () => {
  test("allows what was flushed, what came later, and nothing at all", () => {
    for (const answers of [[seen("found", [1, 12])], [seen("found", [1, 14], [2, 15])], [seen("found", [2, 15])], []]) {
      expect(() => afterFlushAndMore().read([opened, ...answers, swept])).not.toThrow();
    }
  });

  test("does not allow what is older than flushed, was deleted, or was never put", () => {
    for (const answer of [
      [1, 10],
      [2, 11],
      [2, 13],
      [1, 15],
      [7, 10],
    ] as const) {
      expect(() => afterFlushAndMore().read([opened, seen("found", [...answer])])).toThrow(/could only be/);
    }
  });

  test("does not allow a version to return that was lost", () => {
    const ledger = afterFlushAndMore();
    ledger.read([opened, seen("found", [1, 12]), swept]);
    ledger.killed();
    expect(() => ledger.read([opened, seen("found", [1, 14])])).toThrow(/could only be 12/);
  });

  test("within a life allows only what is newest", () => {
    const ledger = new Ledger(OBJECT_ZONES);
    ledger.read([opened, swept, changing(10, "p1"), changing(11, "p1")]);
    expect(() => ledger.read([seen("found", [1, 10])])).toThrow(/after 11/);
  });

  test("wants everything that was found after its flush, until its zone is written over", () => {
    expect(() => afterKeeping().read([opened, seen("found", [1, 10], [2, 11]), swept])).not.toThrow();
    expect(() => afterKeeping().read([opened, seen("found", [1, 10]), swept])).toThrow(/key 2.*completed zone/);
    const overwritten = afterKeeping();
    overwritten.read([opened, seen("found", [1, 10], [2, 11]), swept, writing(3)]);
    overwritten.killed();
    expect(() => overwritten.read([opened, swept])).not.toThrow();
    // Zones of indexes and checkpoints hold no objects.
    const other = afterKeeping();
    other.read([opened, seen("found", [1, 10], [2, 11]), swept, writing(OBJECT_ZONES)]);
    other.killed();
    expect(() => other.read([opened, swept])).toThrow(/completed zone/);
  });

  test("wants what the file itself shows", () => {
    const ledger = afterFlushAndMore();
    const inFile = new Map([[1, 12]]);
    expect(() => ledger.read([opened, swept], inFile)).toThrow(/key 1: version 12 is in a completed zone/);
    expect(() => afterFlushAndMore().read([opened, seen("found", [1, 12]), swept], inFile)).not.toThrow();
    expect(() => afterFlushAndMore().read([opened, swept], new Map([[99, 1]]))).toThrow(/never put/);
  });
});
