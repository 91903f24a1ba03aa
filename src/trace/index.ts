/** `warmset/trace`: recording, writing, reading and importing routing traces. */
export { type ImportedTrace, type ImportOptions, importRouteTrace } from "./import-route-trace.ts";
export { type MemoryTraceOptions, memoryTrace } from "./memory-trace.ts";
export { RecordingInputError, type RecordingInputKind } from "./record/errors.ts";
export { type RecordGeneration, type RecordTraceOptions, recordTrace } from "./record/record-trace.ts";
export type { PromptFormat, RecordingProgress, RecordingSummary } from "./record/recording-job.ts";
export type { TextFile } from "./record/text-samples.ts";
export * from "./trace.ts";
export { TraceError, type TraceErrorKind, type TracePlace } from "./trace-error.ts";
export { queryTrace, type TraceQueryResult } from "./trace-query.ts";
export { type OpenTrace, openTrace } from "./trace-reader.ts";
export {
  createTrace,
  resumeTrace,
  type TraceWriter,
  type TraceWriterOptions,
} from "./trace-writer.ts";
