/**
 * The project's goals for its own policy, held against the rows of a suite. Pure; a goal without the rows that would show it is
 * open. A tie passes as such ("within noise"): the interval by prompt reaches the wanted value and the value itself is at most
 * `TIE` above it, so that a run which is merely noisy does not pass.
 */
import { type Estimate, pairedRatio } from "./estimate.ts";
import type { Mode, Source } from "./figures.ts";
import { BASELINE, isCeiling, OURS, PAPER } from "./policies.ts";
import type { FinemoeTarget, RealTraceRow } from "./results.ts";
import type { FinemoeRow } from "./row.ts";

/** Decode time over that of the paper's setting at most, at this share. */
const OVER_PAPER = 0.9;
const PAPER_SHARE = 0.25;
/** Of the hit rate between LRU and Belady's rule. */
const RECOVERED = 0.35;
/** Over LRU's. */
const BYTES = 1.1;
/** A time over another's that noise may explain; goals of 5 % and more can be told apart with a few requests. */
const TIE = 1.05;
const TIE_WANTED = `<= 1, or a tie (interval reaches 1, value <= ${TIE})`;
/** Of a token's time. */
const BOOKKEEPING = 0.02;

interface Cell {
  readonly source: Source;
  readonly mode: Mode;
  readonly cacheShare: number;
  readonly rows: readonly FinemoeRow[];
}

export function judgeFinemoe(
  rows: readonly FinemoeRow[],
  realTraces: readonly RealTraceRow[] = [],
  ours = OURS,
): FinemoeTarget[] {
  return [...cellsOf(rows).flatMap((cell) => judgeCell(cell, ours)), ...realTraceTargets(realTraces, ours)];
}

function judgeCell({ source, mode, cacheShare, rows }: Cell, ours: string): FinemoeTarget[] {
  const find = (policy: string) => rows.find((row) => row.policy === policy);
  const [own, lru, belady, paper] = [find(ours), find(BASELINE), find("belady"), find(PAPER)];
  const where = `${mode}, ${percent(cacheShare)}`;
  const target = (
    name: string,
    wanted: string,
    measured: number | null,
    met: (value: number) => boolean,
    detail: string,
    interval?: Estimate | null,
  ): FinemoeTarget => ({
    ...{ source, name: `${name}, ${where}`, wanted, measured, met: measured === null ? null : met(measured), detail },
    ...(interval ? { interval } : {}),
  });

  const best = fastest(rows.filter(({ policy }) => policy !== ours && !isCeiling(policy)));
  const overBest = own && best ? timeOver(own, best) : null;
  const overPaper = own && paper ? timeOver(own, paper) : null;
  const overLru = own?.timeOverLru ?? null;
  const gap = lru && belady ? belady.hitRate - lru.hitRate : 0;
  const recovered = own && lru && gap > 0 ? (own.hitRate - lru.hitRate) / gap : null;
  const atPaperShare = Math.abs(cacheShare - PAPER_SHARE) < 0.005;
  return [
    target(
      "decode time over the best other policy",
      TIE_WANTED,
      overBest?.value ?? null,
      () => notSlower(overBest as Estimate),
      best === undefined ? "" : `the best is ${best.policy}`,
      overBest,
    ),
    ...(atPaperShare
      ? [
          target(
            "decode time over the paper's setting",
            `<= ${OVER_PAPER}`,
            overPaper?.value ?? null,
            (value) => value <= OVER_PAPER,
            `against ${PAPER}`,
            overPaper,
          ),
        ]
      : []),
    target(
      "part of the hit rate between LRU and Belady",
      `>= ${RECOVERED}`,
      recovered,
      (value) => value >= RECOVERED,
      own && lru && belady
        ? `hits ${percent(lru.hitRate, 1)} LRU, ${percent(own.hitRate, 1)} ${ours}, ${percent(belady.hitRate, 1)} Belady`
        : "",
    ),
    target("bytes read over LRU's", `<= ${BYTES}`, own?.bytesOverLru ?? null, (value) => value <= BYTES, ""),
    target(
      "decode time over LRU's",
      TIE_WANTED,
      overLru?.value ?? null,
      () => notSlower(overLru as Estimate),
      "",
      overLru,
    ),
    ...(own?.policyMs == null
      ? []
      : [
          target(
            "the policy's own time over a token's",
            `<= ${BOOKKEEPING}`,
            own.policyMs / own.tokenMs.mean,
            (value) => value <= BOOKKEEPING,
            `${own.policyMs.toFixed(2)} ms a token`,
          ),
        ]),
  ];
}

function realTraceTargets(rows: readonly RealTraceRow[], ours: string): FinemoeTarget[] {
  const cells = [...new Set(rows.map(({ trace, cacheShare }) => `${trace}\n${cacheShare}`))];
  return cells.map((cell) => {
    const [trace, share] = cell.split("\n");
    const own = rows.filter((row) => row.trace === trace && row.cacheShare === Number(share));
    const hits = (policy: string) => own.find((row) => row.policy === policy)?.hitRate;
    const others = ["lru", "lfu", "lfu-per-layer"].flatMap((policy) => hits(policy) ?? []);
    const mine = hits(ours);
    const best = Math.max(...others);
    const measured = mine === undefined || others.length === 0 ? null : mine - best;
    return {
      ...{
        source: "simulated",
        name: `hits over the best of LRU, LFU, per-layer LFU, ${trace}, ${percent(Number(share))}`,
      },
      ...{ wanted: ">= 0", measured, met: measured === null ? null : measured >= 0 },
      detail: mine === undefined ? "" : `${percent(mine, 1)} against ${percent(best, 1)}`,
    };
  });
}

/** Decode time of the one over the other's, prompt by prompt. */
export function timeOver(row: FinemoeRow, other: FinemoeRow): Estimate {
  return pairedRatio(row.byRequest.tpotMs, other.byRequest.tpotMs);
}

function notSlower({ value, low }: Estimate): boolean {
  return low <= 1 && value <= TIE;
}

export function cellsOf(rows: readonly FinemoeRow[]): readonly Cell[] {
  const cells = new Map<string, Cell & { rows: FinemoeRow[] }>();
  for (const row of rows) {
    const { source, mode, cacheShare } = row;
    const name = `${source} ${mode} ${cacheShare.toFixed(4)}`;
    if (!cells.has(name)) cells.set(name, { source, mode, cacheShare, rows: [] });
    cells.get(name)?.rows.push(row);
  }
  return [...cells.values()];
}

function fastest(rows: readonly FinemoeRow[]): FinemoeRow | undefined {
  return rows.reduce<FinemoeRow | undefined>(
    (best, row) => (best === undefined || row.tokenMs.mean < best.tokenMs.mean ? row : best),
    undefined,
  );
}

export function percent(share: number, digits = 0): string {
  return `${(100 * share).toFixed(digits)} %`;
}
