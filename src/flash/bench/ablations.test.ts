import { expect, test } from "vitest";
import { ABLATION_NAMES, planAblations } from "./ablations.ts";
import { knownFill } from "./known-fill.ts";
import { openSubject } from "./subjects.ts";

const MIB = 2 ** 20;
const scale = (cacheBytes: number) => ({ cacheBytes, zoneBytes: 2 ** 20, workload: "nemo-mix", seed: 1 }) as const;

test("every ablation has cases that differ, and each of them can be opened", async () => {
  for (const { id, cases } of planAblations(ABLATION_NAMES, scale(64 * MIB))) {
    expect(cases.length).toBeGreaterThan(1);
    expect(new Set(cases.map(({ label }) => label)).size, id).toBe(cases.length);
    for (const { subject, zoneBytes } of cases) {
      const { engine, remove } = await openSubject(subject, { cacheBytes: 64 * MIB, zoneBytes: zoneBytes ?? MIB });
      expect(engine.name).toBe(subject.engine);
      await engine.close();
      remove();
    }
  }
});

test("rungs have known fills where zones are large enough, and only then", () => {
  const known = (cacheBytes: number) =>
    planAblations(["ladder"], scale(cacheBytes))[0].cases.map(({ knownFill }) => knownFill?.simulated ?? null);
  expect(known(64 * MIB)).toEqual([null, null, null, null, null]);
  expect(known(256 * MIB)).toEqual([0.124, 0.457, 0.364, 0.747, null]);
  expect(knownFill("B+P", 5000, 0.9)).toBeUndefined();
});
