/**
 * Several requests decoded together, as one sample: their prompts one after the other, then one token of each a step, until
 * the last has ended. A trace has no batches of several sequences; routing does not depend on who else is in the batch.
 */
import { type SampleSignals, sharedFloats } from "../../simulate/sample-signals.ts";
import { DECODE, PREFILL, type TraceDescription, type TraceSample } from "../../trace/trace.ts";
import { promptTokens } from "./prompt-split.ts";

/** A request as the trace has it, with what policies can be told of it besides. */
export interface TracedRequest {
  readonly sample: TraceSample;
  readonly signals: SampleSignals;
}

/** Groups of `batch` neighbours; the last may be smaller. One request alone stays as it is. */
export function joinRequests(
  description: TraceDescription,
  requests: readonly TracedRequest[],
  batch: number,
): readonly TracedRequest[] {
  if (batch === 1) return requests;
  const groups: TracedRequest[] = [];
  for (let from = 0; from < requests.length; from += batch)
    groups.push(joined(description, requests.slice(from, from + batch)));
  return groups;
}

/** Where a token of a joined sample comes from. */
interface Place {
  readonly request: TracedRequest;
  readonly position: number;
  readonly phase: number;
  readonly batch: number;
}

function joined({ model }: TraceDescription, requests: readonly TracedRequest[]): TracedRequest {
  const places = placesOf(requests);
  const layers = model.moeBlocks.length;
  const { sample: first, signals: firstSignals } = requests[0];
  const gather = <T extends Float32Array | Uint16Array | Int32Array>(
    of: (request: TracedRequest) => T | undefined,
    width: number,
    make: (length: number) => T,
  ): T | undefined => {
    if (requests.some((request) => of(request) === undefined)) return undefined;
    const into = make(places.length * width);
    for (const [i, { request, position }] of places.entries())
      into.set((of(request) as T).subarray(position * width, (position + 1) * width) as never, i * width);
    return into;
  };
  const hiddenValues = first.hidden === undefined ? 0 : first.hidden.length / first.length;
  const used = layers * model.expertsUsed;
  const sample: TraceSample = {
    ...{ sample: first.sample, domain: first.domain, length: places.length },
    phases: Uint8Array.from(places, ({ phase }) => phase),
    batches: Uint32Array.from(places, ({ batch }) => batch),
    experts: gather(
      (request) => request.sample.experts,
      used,
      (length) => new Uint16Array(length),
    ) as Uint16Array,
    weights: gather((request) => request.sample.weights, used, sharedFloats),
    probs: gather((request) => request.sample.probs, layers * model.experts, sharedFloats),
    hidden: gather((request) => request.sample.hidden, hiddenValues, sharedFloats),
    tokens: gather(
      (request) => request.sample.tokens,
      1,
      (length) => new Int32Array(length),
    ),
    ...{ predicted: undefined, loss: undefined },
  };
  const { embeddingWidth } = firstSignals;
  const signals: SampleSignals = {
    embeddings: gather((request) => request.signals.embeddings, embeddingWidth, sharedFloats),
    embeddingWidth,
    nextGate: gather((request) => request.signals.nextGate, (layers - 1) * model.experts, sharedFloats),
  };
  return { sample, signals };
}

function placesOf(requests: readonly TracedRequest[]): Place[] {
  const places: Place[] = [];
  let batch = 0;
  for (const request of requests) {
    const { batches } = request.sample;
    const prompt = promptTokens(request.sample);
    for (let position = 0; position < prompt; position++)
      places.push({ request, position, phase: PREFILL, batch: batch + batches[position] - batches[0] });
    batch = (places.at(-1)?.batch ?? -1) + 1;
  }
  const decoding = requests.map((request) => ({ request, prompt: promptTokens(request.sample) }));
  const steps = Math.max(...decoding.map(({ request, prompt }) => request.sample.length - prompt));
  for (let step = 0; step < steps; step++, batch++)
    for (const { request, prompt } of decoding)
      if (prompt + step < request.sample.length)
        places.push({ request, position: prompt + step, phase: DECODE, batch });
  return places;
}
