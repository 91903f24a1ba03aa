/**
 * What the FineMoE paper reports and whether the same shows here: orders and ratios, never seconds, since its machine moves
 * experts over PCIe and ours over a drive. Figures are worked out from the paper's prose (arXiv 2502.05370 v2).
 */
import type { Mode } from "./figures.ts";
import { PAPER } from "./policies.ts";
import type { PublishedComparison } from "./results.ts";
import type { FinemoeRow } from "./row.ts";
import { cellsOf, percent } from "./targets.ts";

/** Baselines over FineMoE, means over its models and data sets; at 6 GB of cache where that is given. */
const PUBLISHED = [
  { policy: "deepspeed", ttft: 3.85, tpot: 1.85, tpotSmall: 1.56, hits: null },
  { policy: "mixtral-offload", ttft: 3.03, tpot: 1.61, tpotSmall: 1.33, hits: 0.88 },
  { policy: "promoe", ttft: 2.27, tpot: 1.37, tpotSmall: 1.19, hits: 0.73 },
  { policy: "moe-infinity", ttft: 2.13, tpot: 1.28, tpotSmall: 1.41, hits: 0.6 },
] as const;

const MIDDLE_SHARE = 0.25;

/** One list for each source and mode that has rows of the paper's own policy. */
export function comparePublished(rows: readonly FinemoeRow[], mode: Mode = "offline"): PublishedComparison[] {
  const cells = cellsOf(rows).filter((cell) => cell.mode === mode && cell.rows.some(({ policy }) => policy === PAPER));
  const comparisons: PublishedComparison[] = [];
  for (const source of ["simulated", "measured"] as const) {
    const own = cells.filter((cell) => cell.source === source);
    if (own.length === 0) continue;
    const middle = own.find(({ cacheShare }) => Math.abs(cacheShare - MIDDLE_SHARE) < 0.01) ?? own[own.length - 1];
    const smallest = own.reduce((least, cell) => (cell.cacheShare < least.cacheShare ? cell : least));
    const say = (what: string, published: string, here: string, agrees: boolean | null) =>
      comparisons.push({ name: `${source}: ${what}`, published, here, agrees });
    const of = (cell: typeof middle, policy: string) => cell.rows.find((row) => row.policy === policy);
    const ratio = (cell: typeof middle, policy: string, value: (row: FinemoeRow) => number | null) => {
      const [other, paper] = [of(cell, policy), of(cell, PAPER)];
      const [a, b] = [other && value(other), paper && value(paper)];
      return a == null || !b ? null : a / b;
    };
    const line = (
      what: string,
      cell: typeof middle,
      policy: string,
      published: number,
      value: (row: FinemoeRow) => number | null,
    ) => {
      const here = ratio(cell, policy, value);
      say(
        `${what} of ${policy} over ${PAPER} at ${percent(cell.cacheShare)}`,
        published.toFixed(2),
        here === null ? "–" : here.toFixed(2),
        here === null ? null : here > 1 === published > 1,
      );
    };
    for (const { policy, ttft, tpot, tpotSmall, hits } of PUBLISHED) {
      line("TTFT", middle, policy, ttft, (row) => row.ttftMs.value);
      line("TPOT", middle, policy, tpot, (row) => row.tpotMs.value);
      if (smallest !== middle) line("TPOT", smallest, policy, tpotSmall, (row) => row.tpotMs.value);
      if (hits !== null) line("hits (coverage)", middle, policy, hits, ({ coverage }) => coverage);
    }
    const order = (policies: readonly string[], cell: typeof middle, value: (row: FinemoeRow) => number | null) => {
      const there = policies.flatMap((policy) => {
        const figure = of(cell, policy);
        const worth = figure === undefined ? null : value(figure);
        return worth === null ? [] : [{ policy, worth }];
      });
      const sorted = [...there].sort((a, b) => b.worth - a.worth).map(({ policy }) => policy);
      const complete = there.length === policies.length;
      return { text: sorted.join(" > ") || "–", same: complete ? sorted.join() === policies.join() : null };
    };
    const coverage = [PAPER, "mixtral-offload", "promoe", "moe-infinity"];
    const covered = order(coverage, middle, (row) => row.coverage);
    say("coverage, best first", coverage.join(" > "), covered.text, covered.same);
    const slow = ["deepspeed", "mixtral-offload", "promoe", "moe-infinity", PAPER];
    const slowest = order(slow, middle, (row) => row.tpotMs.value);
    say("TPOT, slowest first", slow.join(" > "), slowest.text, slowest.same);
    const slowSmall = ["deepspeed", "moe-infinity", "mixtral-offload", "promoe", PAPER];
    const small = order(slowSmall, smallest, (row) => row.tpotMs.value);
    if (smallest !== middle)
      say("TPOT in the smallest cache, slowest first", slowSmall.join(" > "), small.text, small.same);
    const gap = (cell: typeof middle) => ratio(cell, "deepspeed", (row) => row.tpotMs.value);
    const largest = own.reduce((most, cell) => (cell.cacheShare > most.cacheShare ? cell : most));
    const [first, last] = [gap(smallest), gap(largest)];
    if (smallest !== largest)
      say(
        "gaps narrow as the cache grows (deepspeed over finemoe, smallest to largest)",
        "narrow",
        first === null || last === null ? "–" : `${first.toFixed(2)} to ${last.toFixed(2)}`,
        first === null || last === null ? null : last < first,
      );
  }
  return comparisons;
}
