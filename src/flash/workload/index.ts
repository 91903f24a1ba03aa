/** What a flash cache is asked: workloads by name or description, published traces, and what they are like. */
export {
  createEventBatch,
  DELETE,
  type EventBatch,
  type EventSource,
  GET,
  SET,
  type Workload,
} from "./event-batch.ts";
export { GeneratedWorkload, type WorkloadSpec } from "./generated-workload.ts";
export type { GradualChange } from "./gradual-change.ts";
export { isFresh, MIN_KEY_BYTES, writeKey } from "./key-bytes.ts";
export type { SizeModel } from "./object-size.ts";
export type { ObjectSizes, OperationWeights, PopulationSpec } from "./population.ts";
export {
  MAX_OBJECT_BYTES,
  type PresetOptions,
  presetWorkload,
  WORKLOAD_NAMES,
  type WorkloadName,
  workingSetBytesOf,
} from "./presets.ts";
export { type DescribeOptions, describeWorkload, type WorkloadFigures } from "./stats.ts";
export { TraceFile, type TraceFileOptions, type TraceFormat } from "./trace/trace-file.ts";
