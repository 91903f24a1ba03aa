/**
 * What each way of saving reads gets down to before the text suffers: the bytes per token where perplexity meets its limit. Judged
 * by what was measured; what lies between two measured variants is told beside it. Pure.
 */
import { lineName } from "./curve-variants.ts";
import type { CurvePoint, CurvesVerdict, LineAtLimit, PricedVariant } from "./results.ts";

/** The goal: at perplexity +1 % at most half of the base's bytes. */
export const LIMIT = { perplexityChange: 0.01, bytesShare: 0.5 } as const;

/** Null before the engine has run. */
export function judgeCurves(points: readonly CurvePoint[]): CurvesVerdict | null {
  const ran = points.filter(({ engine }) => engine !== null);
  const base = ran.find(({ family }) => family === "base");
  if (base === undefined) return null;
  const names = [...new Set(ran.filter((point) => point !== base).map(lineName))];
  const lines = names.map((line): LineAtLimit => {
    const own = ran.filter((point) => lineName(point) === line);
    const within = own.filter(({ perplexityChange }) => perplexityChange <= LIMIT.perplexityChange);
    const best = within.reduce<CurvePoint | undefined>(
      (least, point) => (least === undefined || bytesOf(point) < bytesOf(least) ? point : least),
      undefined,
    );
    const shares = strands(own, ran, base).flatMap((strand) => shareAtLimit(strand) ?? []);
    return {
      line,
      best: best === undefined ? null : priced(best, base),
      interpolatedBytesShare: shares.length === 0 ? null : Math.min(...shares),
    };
  });
  const both = ran.filter(({ family }) => family === "both").map(lineName);
  const passed = lines.some(
    ({ line, best }) => both.includes(line) && best !== null && best.bytesShare <= LIMIT.bytesShare,
  );
  return { limit: LIMIT, lines, passed };
}

/** Points of which one strength alone grows, from where it is 0. */
function strands(own: readonly CurvePoint[], all: readonly CurvePoint[], base: CurvePoint): CurvePoint[][] {
  if (own[0].family !== "both") return [[base, ...own]];
  const scales = [...new Set(own.map(({ scale }) => scale))];
  return scales.map((scale) => [
    ...all.filter((point) => point.family === "tuned" && point.router === own[0].router && point.scale === scale),
    ...own.filter((point) => point.scale === scale),
  ]);
}

/** Where the last step over the limit crosses it; undefined where no step does. */
function shareAtLimit(strand: readonly CurvePoint[]): number | undefined {
  const limit = LIMIT.perplexityChange;
  for (let i = strand.length - 1; i > 0; i--) {
    const [from, to] = [strand[i - 1], strand[i]];
    if (from.perplexityChange > limit || to.perplexityChange <= limit) continue;
    const part = (limit - from.perplexityChange) / (to.perplexityChange - from.perplexityChange);
    return shareOf(from) + part * (shareOf(to) - shareOf(from));
  }
  return undefined;
}

function priced(point: CurvePoint, base: CurvePoint): PricedVariant {
  const { name, perplexityChange, perplexityError, meanKl, engine } = point;
  return {
    ...{ name, bytesShare: shareOf(point), tpotShare: (engine?.tpotMs ?? 0) / (base.engine?.tpotMs ?? 1) },
    ...{ perplexityChange, perplexityError, meanKl },
  };
}

function bytesOf({ engine }: CurvePoint): number {
  return engine?.bytesPerToken ?? Number.POSITIVE_INFINITY;
}

function shareOf({ engine }: CurvePoint): number {
  return engine?.bytesShare ?? Number.NaN;
}
