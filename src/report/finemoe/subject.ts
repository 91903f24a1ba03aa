/** What the figures of a policy comparison have in common: which cells there are, and how a policy looks in all of them. */
import type { Mode, Source } from "../../bench/finemoe/figures.ts";
import type { FinemoeResult } from "../../bench/finemoe/results.ts";
import type { FinemoeRow } from "../../bench/finemoe/row.ts";
import { percentText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";

/** Rows of one source and mode. */
export interface Side {
  readonly result: FinemoeResult;
  readonly source: Source;
  readonly mode: Mode;
  readonly rows: readonly FinemoeRow[];
}

/** In reading order; sides without rows are left out. */
export function sidesOf(result: FinemoeResult): readonly Side[] {
  return (["simulated", "measured"] as const).flatMap((source) =>
    (["online", "offline"] as const).flatMap((mode) => {
      const rows = result.rows.filter((row) => row.source === source && row.mode === mode);
      return rows.length === 0 ? [] : [{ result, source, mode, rows }];
    }),
  );
}

/** Ascending. */
export function sharesOf(rows: readonly FinemoeRow[]): readonly number[] {
  return [...new Set(rows.map(({ cacheShare }) => Math.round(1000 * cacheShare) / 1000))].sort((a, b) => a - b);
}

export function rowsAt(rows: readonly FinemoeRow[], share: number): readonly FinemoeRow[] {
  return rows.filter((row) => Math.abs(row.cacheShare - share) < 0.001);
}

/** The share that figures of one cache show: a quarter, or the nearest to it that there is. */
export function middleShare(rows: readonly FinemoeRow[]): number {
  return sharesOf(rows).reduce((best, share) => (Math.abs(share - 0.25) < Math.abs(best - 0.25) ? share : best));
}

export function policiesOf(rows: readonly FinemoeRow[]): readonly string[] {
  return [...new Set(rows.map(({ policy }) => policy))];
}

export function sideText({ source, mode }: Pick<Side, "source" | "mode">): string {
  return `${source}, ${mode}`;
}

/** The line at the foot of a figure. */
export function sourceLine({ result, source, mode, rows }: Side): string {
  const { configuration } = result;
  const { requests, decodeTokens } = rows[0];
  const where =
    source === "simulated"
      ? `simulated in virtual time from ${configuration.trace}`
      : `measured on ${configuration.machine.cpu}, ${configuration.machine.cores} cores`;
  const knows =
    mode === "offline" ? `learned from ${configuration.trainPrompts} other prompts` : "started with nothing learned";
  return `${where}; ${requests} prompts, ${decodeTokens.toLocaleString("en-US")} decode steps; ${knows}`;
}

export interface PolicyLook {
  readonly colour: string;
  readonly width: number;
  readonly dashes?: string;
  readonly bold: boolean;
}

/** Ours, the paper's, the floor and ceilings stand out; the rest is background. */
export function lookOf(policy: string): PolicyLook {
  switch (policy) {
    case "warmset":
      return { colour: PALETTE.subject.light, width: 2.6, bold: true };
    case "finemoe":
      return { colour: PALETTE.second.light, width: 2, bold: false };
    case "lru":
      return { colour: PALETTE.third.light, width: 1.8, bold: false };
    case "belady":
    case "oracle-prefetch":
      return { colour: PALETTE.ink.light, width: 1.3, dashes: "5 3", bold: false };
    case "on-demand":
      return { colour: PALETTE.picked.light, width: 1.3, dashes: "1 3", bold: false };
    default:
      return { colour: PALETTE.muted.light, width: 1, bold: false };
  }
}

export function msText(ms: number): string {
  return `${ms >= 99.95 ? ms.toFixed(0) : ms.toFixed(1)}\u00a0ms`;
}

export function shareText(share: number): string {
  return percentText(share, 0);
}

/** Round values among those between the least and the largest of the values. */
export function logTicks(values: readonly number[]): readonly number[] {
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  return [1, 10, 100, 1000, 10_000]
    .flatMap((power) => [1, 2, 5].map((digit) => digit * power))
    .filter((tick) => tick >= least && tick <= largest);
}
