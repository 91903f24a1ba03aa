/** Recordings for tests: a job with the defaults of the tests, and a trace read back as a whole. */

import type { EngineSettings } from "../../src/engine/engine-settings.ts";
import type { RecordingJob, RecordingSummary } from "../../src/trace/record/recording-job.ts";
import { runRecording } from "../../src/trace/record/run-recording.ts";
import type { TraceDescription, TraceSample, WantedColumns } from "../../src/trace/trace.ts";
import { openTrace } from "../../src/trace/trace-reader.ts";

export interface JobParts extends Partial<Omit<RecordingJob, "engine" | "texts">> {
  readonly model: string;
  readonly directory: string;
  readonly texts: RecordingJob["texts"];
  readonly engine?: Partial<EngineSettings>;
}

/** One thread: two on busy cores take many times as long. */
export function jobOf({ engine, ...parts }: JobParts): RecordingJob {
  return {
    resume: false,
    sampleLength: 64,
    samples: undefined,
    generate: undefined,
    probs: false,
    hidden: false,
    ...parts,
    engine: {
      memory: { kind: "all" },
      policy: "lru",
      microBatchTokens: undefined,
      threads: 1,
      backend: undefined,
      io: undefined,
      reservedBytes: 0,
      verbose: false,
      ...engine,
    },
  };
}

export interface Recorded {
  readonly summary: RecordingSummary;
  readonly description: TraceDescription;
  readonly samples: readonly TraceSample[];
}

/** Records in this process and reads everything back. */
export async function record(parts: JobParts): Promise<Recorded> {
  const job = jobOf(parts);
  const summary = await runRecording(job);
  return { summary, ...(await readAll(job.directory, { probs: job.probs, hidden: job.hidden })) };
}

export async function readAll(
  directory: string,
  wanted: WantedColumns = {},
): Promise<{ readonly description: TraceDescription; readonly samples: readonly TraceSample[] }> {
  const trace = await openTrace(directory);
  const samples: TraceSample[] = [];
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, { weights: true, tokens: true, predictions: true, ...wanted }))
      samples.push(sample);
  return { description: trace.description, samples };
}
