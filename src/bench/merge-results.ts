/**
 * Puts the cells of two runs of a suite into one result, so that a suite of half an hour can be measured in parts. Pure;
 * what the newer part measured replaces what the older one says of the same cell, and the targets are judged anew.
 */
import type { BenchResult, ResultRow } from "./results.ts";
import { judgeTargets } from "./targets.ts";

/**
 * @throws RangeError when the parts were not measured on the same model and machine in the same way, because rows beside
 *   each other are read as comparable.
 */
export function mergeResults(older: BenchResult, newer: BenchResult, targetPolicy: string): BenchResult {
  for (const key of ["modelFile", "modelBytes", "threads", "readAheadKb", "memoryLimit", "decodeTokens"] as const) {
    const [before, after] = [older.configuration[key], newer.configuration[key]];
    if (before !== after && before !== null && after !== null)
      throw new RangeError(`The parts differ in ${key}: ${before} and ${after}. Measure both alike.`);
  }
  const measured = new Set(newer.rows.map(cellOf));
  const rows = [...older.rows.filter((row) => !measured.has(cellOf(row))), ...newer.rows];
  rows.sort((a, b) => ORDER.indexOf(a.scenario) - ORDER.indexOf(b.scenario) || b.memoryFraction - a.memoryFraction);
  const computeMs = { ...older.limits.computeMs, ...newer.limits.computeMs };
  return {
    ...newer,
    configuration: filledFrom(newer.configuration, older.configuration),
    elapsedMs: older.elapsedMs + newer.elapsedMs,
    device: newer.device ?? older.device,
    limits: { ...filledFrom(newer.limits, older.limits), computeMs },
    rows,
    targets: judgeTargets(rows, targetPolicy, computeMs),
    notes: [...new Set([...older.notes, ...newer.notes, `Measured in parts, ${older.date} and ${newer.date}`])],
  };
}

/** What a part did not measure is null: the device, for one, is not asked beside cold starts. */
function filledFrom<T extends object>(newer: T, older: T): T {
  const known = Object.entries(newer).filter(([, value]) => value !== null && value !== undefined);
  return { ...older, ...Object.fromEntries(known) };
}

const ORDER: readonly ResultRow["scenario"][] = ["fits", "limited", "cold"];

function cellOf({ scenario, memoryFraction, promptTokens }: ResultRow): string {
  return `${scenario} ${memoryFraction} ${scenario === "cold" ? promptTokens : ""}`;
}
