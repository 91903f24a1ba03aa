/** Processes killed in the middle of their writes, on a real file that is carried from one to the next. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { noDamage, useDamaged } from "../../src/bench/flash-faults/damaged-file.ts";
import { runKills } from "../../src/bench/flash-faults/kill-run.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "kills-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe("after a kill", () => {
  // `npm run bench:flash-faults` has hundreds.
  test.each([
    ["nemo", 12],
    ["log", 6],
    ["set", 6],
  ] as const)("%s returns nothing wrong and finds what was completed, %i times", async (engine, kills) => {
    const damaged = noDamage();
    const figures = await runKills({
      ...{ engine, kills, killsPerFile: kills / 2, filesAtOnce: 2, folder, seed: 1 },
      onFile: (file, subject, random) => useDamaged(file, subject, random, damaged),
    });
    expect(figures.kills).toBe(kills);
    expect(figures.writes).toBeGreaterThan(20);
    expect(figures.seen).toBeGreaterThan(500);
    expect(figures.obliged).toBeGreaterThan(100);
    // And then with its bits flipped.
    expect(damaged.opened).toBe(2);
    expect(damaged.seen).toBeGreaterThan(50);
  });
});
