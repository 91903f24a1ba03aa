/** A trace that was never on a disk: for tests, and for samples that a program makes. */
import type { TraceDescription, TraceSample, TraceSource } from "./trace.ts";
import { checkWanted } from "./trace-reader.ts";

export interface MemoryTraceOptions {
  /** Samples of a part. Default: all in one. */
  readonly samplesPerPart?: number;
}

/** The samples are handed out as they are; columns that were not wanted are left out, as when reading from a disk. */
export function memoryTrace(
  description: TraceDescription,
  samples: readonly TraceSample[],
  { samplesPerPart = Math.max(1, samples.length) }: MemoryTraceOptions = {},
): TraceSource {
  const parts: TraceSample[][] = [];
  for (let from = 0; from < samples.length; from += samplesPerPart)
    parts.push(samples.slice(from, from + samplesPerPart));
  return {
    description,
    parts: parts.map((part, index) => ({
      index,
      samples: part.length,
      tokens: part.reduce((sum, { length }) => sum + length, 0),
    })),
    samples: (part, wanted = {}) => {
      const own = parts[part];
      if (own === undefined) throw new RangeError(`There is no part ${part}: the trace has ${parts.length}.`);
      checkWanted({ description }, wanted);
      return (async function* () {
        for (const sample of own)
          yield {
            ...sample,
            weights: wanted.weights ? sample.weights : undefined,
            probs: wanted.probs ? sample.probs : undefined,
            hidden: wanted.hidden ? sample.hidden : undefined,
            tokens: wanted.tokens ? sample.tokens : undefined,
            predicted: wanted.predictions ? sample.predicted : undefined,
            loss: wanted.predictions ? sample.loss : undefined,
          };
      })();
    },
  };
}
