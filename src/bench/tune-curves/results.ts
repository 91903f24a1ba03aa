/** The result of `npm run bench:tune-curves`: plain data, kept as JSON and drawn as a page. */
import type { Machine } from "../results.ts";
import type { CurveVariant } from "./curve-variants.ts";
import type { ForcedFigures } from "./forced-run-protocol.ts";

/** `text`: the small model over all of the text, for quality. `engine`: the large one over its beginnings, for time. */
export type MeasuredOn = "text" | "engine";

export interface CurveRun extends ForcedFigures {
  readonly variant: string;
  readonly on: MeasuredOn;
  readonly round: number;
}

/** What has to be equal for runs to stand beside each other; a run that is resumed checks it. */
export interface CurvesConfiguration {
  readonly model: string;
  readonly engineModel: string;
  readonly routers: readonly RouterFile[];
  readonly scales: readonly number[];
  readonly lambdas: readonly number[];
  readonly cacheShare: number;
  readonly policy: string;
  readonly threads: number;
  readonly domains: readonly string[];
  /** Where the text of each domain lies, counted in tokens from the end of its file. */
  readonly lastTokens: number;
  readonly textTokens: number;
  readonly engineTokens: number;
}

export interface RouterFile {
  readonly label: string;
  readonly file: string;
  /** Of the file, the first 16 digits. */
  readonly sha256: string;
  /** Such as "closed-form". */
  readonly method: string;
}

/** A variant on the curves. */
export interface CurvePoint extends CurveVariant {
  /** Of the text, closed loop at the same share of the experts. */
  readonly meanKl: number;
  readonly p99Kl: number;
  readonly top1Agreement: number;
  readonly perplexityChange: number;
  /** Standard error of it. */
  readonly perplexityError: number;
  /** Read for all of the text by the small model, over the base's: holds the engine's figure against more tokens. */
  readonly textBytesShare: number;
  /** Null before the engine has run. */
  readonly engine: EnginePoint | null;
}

/** Medians over rounds. */
export interface EnginePoint {
  readonly rounds: number;
  readonly bytesPerToken: number;
  /** Over the base's. */
  readonly bytesShare: number;
  readonly tpotMs: number;
  /** Smallest and largest of the rounds. */
  readonly tpotRangeMs: readonly [number, number];
  readonly hitRate: number;
  readonly missesPerToken: number;
  readonly swapRate: number | null;
  /** Of the engine's own tokens. */
  readonly meanKl: number;
}

/** What a line reads per token at the limit of perplexity. */
export interface LineAtLimit {
  readonly line: string;
  /** The measured variant with the fewest bytes within the limit; null: none is. */
  readonly best: PricedVariant | null;
  /** Between measured variants, where perplexity meets the limit: bytes over the base's; null when it is met nowhere. */
  readonly interpolatedBytesShare: number | null;
}

export interface PricedVariant {
  readonly name: string;
  readonly bytesShare: number;
  readonly tpotShare: number;
  readonly perplexityChange: number;
  readonly perplexityError: number;
  readonly meanKl: number;
}

export interface CurvesVerdict {
  /** Perplexity change that is allowed, and bytes over the base's that are wanted. */
  readonly limit: { readonly perplexityChange: number; readonly bytesShare: number };
  readonly lines: readonly LineAtLimit[];
  /** Whether a measured variant with both is within both limits. */
  readonly passed: boolean;
}

export interface CurvesResult {
  readonly kind: "tune-curves";
  readonly warmset: string;
  readonly date: string;
  readonly machine: Machine;
  readonly command: string;
  readonly configuration: CurvesConfiguration;
  readonly rounds: number;
  readonly complete: boolean;
  readonly points: readonly CurvePoint[];
  /** Null before the engine has run. */
  readonly verdict: CurvesVerdict | null;
  readonly runs: readonly CurveRun[];
  readonly notes: readonly string[];
}
