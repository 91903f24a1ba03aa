/** Runs gathered to points of the curves: quality from the text, bytes and time as medians over the engine's rounds. Pure. */
import { median } from "../quantile.ts";
import type { CurveVariant } from "./curve-variants.ts";
import type { CurvePoint, CurveRun, EnginePoint } from "./results.ts";

/** Variants that have no run on the text are left out, and all are while the base has none. */
export function curvePoints(variants: readonly CurveVariant[], runs: readonly CurveRun[]): CurvePoint[] {
  const runsOf = ({ name }: CurveVariant, on: CurveRun["on"]) =>
    runs.filter((run) => run.variant === name && run.on === on);
  const [base] = variants;
  const [baseText] = runsOf(base, "text");
  const baseEngine = runsOf(base, "engine");
  if (baseText === undefined) return [];
  return variants.flatMap((variant) => {
    const [text] = runsOf(variant, "text");
    if (text === undefined) return [];
    const { meanKl, p99Kl, top1Agreement, perplexityChange, perplexityError } = text;
    return [
      {
        ...variant,
        ...{ meanKl, p99Kl, top1Agreement, perplexityChange, perplexityError },
        textBytesShare: text.bytesPerToken / baseText.bytesPerToken,
        engine: enginePoint(runsOf(variant, "engine"), baseEngine),
      },
    ];
  });
}

function enginePoint(own: readonly CurveRun[], base: readonly CurveRun[]): EnginePoint | null {
  if (own.length === 0 || base.length === 0) return null;
  const middle = (runs: readonly CurveRun[], of: (run: CurveRun) => number) => median(runs.map(of));
  const bytes = ({ bytesPerToken }: CurveRun) => bytesPerToken;
  const times = own.map(({ msPerToken }) => msPerToken);
  return {
    rounds: own.length,
    bytesPerToken: middle(own, bytes),
    bytesShare: middle(own, bytes) / middle(base, bytes),
    tpotMs: median(times),
    tpotRangeMs: [Math.min(...times), Math.max(...times)],
    hitRate: middle(own, ({ hitRate }) => hitRate),
    missesPerToken: middle(own, ({ missesPerToken }) => missesPerToken),
    swapRate: own[0].swapRate === null ? null : middle(own, ({ swapRate }) => swapRate ?? 0),
    meanKl: middle(own, ({ meanKl }) => meanKl),
  };
}
