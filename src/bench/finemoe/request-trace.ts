/**
 * A recorded trace as requests in memory, once for all worker threads: the arrays lie in shared buffers. It may take the
 * place of a larger model that computes the same function (the inflated demo model), whose routers choose alike.
 */
import type { ReplaySignals } from "../../simulate/policies.ts";
import { type SampleSignals, SignalReader, type TracedWeights } from "../../simulate/sample-signals.ts";
import type { TraceDescription, TracedModel, TraceSample, TraceSource } from "../../trace/trace.ts";

export interface RequestTrace {
  readonly description: TraceDescription;
  readonly samples: readonly TraceSample[];
  /** Of each sample. */
  readonly signals: readonly SampleSignals[];
  /** What policies can be told. */
  readonly there: ReplaySignals;
}

/** Another model than the traced one does not route alike. */
export class ModelMismatchError extends Error {
  override readonly name = "ModelMismatchError";

  constructor(model: string, trace: string, difference: string) {
    super(
      `${model} is not the model of the trace (${trace}), nor an inflated form of it: ${difference}. ` +
        "Record a trace of this model: warmset trace MODEL --probs --decode 96.",
    );
  }
}

/** What of a trace is read; reading what no policy needs costs memory. */
export interface RequestNeeds {
  readonly hidden: boolean;
  readonly embeddings: boolean;
  readonly nextGate: boolean;
}

/** All samples with what the trace and the traced model's weights have of what is needed. */
export async function readRequests(
  source: TraceSource,
  needs: RequestNeeds,
  weights: TracedWeights = {},
  signal?: AbortSignal,
): Promise<RequestTrace> {
  const { description } = source;
  const { columns } = description;
  const reader = new SignalReader(weights, needs);
  const hidden = (needs.hidden || needs.nextGate) && columns.hiddenWidth > 0;
  const wanted = { probs: columns.probs, weights: !columns.probs && columns.weights, hidden, tokens: columns.tokens };
  const samples: TraceSample[] = [];
  const signals: SampleSignals[] = [];
  for (const part of source.parts)
    for await (const sample of source.samples(part.index, wanted)) {
      signal?.throwIfAborted();
      signals.push(await reader.of(sample, signal));
      samples.push(inSharedMemory(needs.hidden ? sample : { ...sample, hidden: undefined }));
    }
  const there = {
    tokens: columns.tokens,
    hidden: hidden && needs.hidden,
    embeddings: needs.embeddings && weights.embeddings !== undefined && columns.tokens,
    nextGate: needs.nextGate && hidden && weights.routers !== undefined,
  };
  return { description, samples, signals, there };
}

/** The trace as one of `model`, with its experts' sizes. @throws ModelMismatchError */
export function traceAs(trace: RequestTrace, model: TracedModel): RequestTrace {
  const recorded = trace.description.model;
  const differs = (["experts", "expertsUsed", "tokenizerHash"] as const).find((name) => model[name] !== recorded[name]);
  const blocks = model.moeBlocks.join(" ") !== recorded.moeBlocks.join(" ");
  if (differs !== undefined || blocks)
    throw new ModelMismatchError(
      model.name,
      recorded.name,
      differs === undefined
        ? "other blocks have experts"
        : `${differs} is ${model[differs]} there, ${recorded[differs]} here`,
    );
  return { ...trace, description: { ...trace.description, model } };
}

function inSharedMemory(sample: TraceSample): TraceSample {
  const entries = Object.entries(sample).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? shared(value as Float32Array) : value,
  ]);
  return Object.fromEntries(entries) as TraceSample;
}

function shared<T extends Float32Array>(array: T): T {
  const type = array.constructor as new (buffer: SharedArrayBuffer) => T;
  const copy = new type(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}
