/** `warmset/locality`: what a routing trace says about keeping experts in memory. */
export {
  type AnalysisProgress,
  type AnalyzeOptions,
  analyzeLocality,
  NothingToAnalyzeError,
} from "./analysis.ts";
export { LocalityOptionError, type LocalityOptions } from "./analysis-plan.ts";
export { directoryOpener, type TraceOpener } from "./analysis-workers.ts";
export { publishedRows } from "./published.ts";
export type * from "./report-data.ts";
export { TooManyDomainsError } from "./sample-analyzer.ts";
export type { PhaseSelection } from "./sample-pieces.ts";
export { memorylessScore, segmentScore, srpGain } from "./srp.ts";
