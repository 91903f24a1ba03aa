/** `warmset/workload`: prompts out of files, mixes and splits of them, and when requests arrive. */
export {
  type Arrival,
  ONLINE_SERVING,
  type PoissonOptions,
  poissonArrivals,
  type WithArrivalsOptions,
  withArrivals,
} from "./arrivals.ts";
export { type AzureArrivalsOptions, readAzureArrivals } from "./azure-arrivals.ts";
export { WorkloadError, type WorkloadErrorKind, type WorkloadPlace } from "./errors.ts";
export { type Prompt, type PromptMessage, promptText } from "./prompt.ts";
export { type ReadPromptsOptions, readPrompts } from "./read-prompts.ts";
export { REQUEST_LENGTHS, type RequestLengths } from "./request-lengths.ts";
export { mixCounts, type Selection, type SelectOptions, selectPrompts } from "./select-prompts.ts";
export { type Split, splitOf, TRAIN_SHARE } from "./split.ts";
