/** A live run of the engine as a sample of a trace: what the routers chose, and how long each token took. */
import type { ModelShape } from "../cache/shape.ts";
import type { Session } from "../engine/session.ts";
import type { RouterStop } from "../llama/graph-hook.ts";
import { DECODE, NO_ID, PREFILL, type TraceSample } from "../trace/trace.ts";

export interface RecordedSession {
  /** With the routers' distributions. Prompt tokens that the last layer left out have no choice there. */
  readonly sample: TraceSample;
  /** Of each token behind the prompt. */
  readonly stepMs: readonly number[];
}

interface RecordedPass {
  readonly tokens: number;
  /** [layer] Of the tokens that were computed there. */
  readonly layers: { readonly tokens: number; readonly experts: number[]; readonly probabilities: Float32Array }[];
}

/** Feeds a prompt, and then the other tokens one by one. `beforeStep` is told the index of each of those. */
export function recordSession(
  session: Session,
  shape: ModelShape,
  tokens: Int32Array,
  promptTokens: number,
  beforeStep: (step: number) => void = () => {},
): RecordedSession {
  const { stream } = session;
  if (stream === undefined) throw new Error("Everything is resident: there is nothing to record");
  const passes: RecordedPass[] = [];
  const routed = stream.routed.bind(stream);
  const begin = stream.begin.bind(stream);
  stream.begin = (phase, iteration, request, ids) => {
    passes.push({ tokens: ids.length, layers: [] });
    begin(phase, iteration, request, ids);
  };
  stream.routed = (stop: RouterStop) => {
    const experts: number[] = [];
    for (let token = 0; token < stop.tokens; token++)
      for (let rank = 0; rank < stop.expertsUsed; rank++) experts.push(stop.expert(token, rank));
    const probabilities = new Float32Array(stop.tokens * shape.experts);
    if (stop.hasProbabilities) stop.readProbabilities(probabilities);
    passes.at(-1)?.layers.push({ tokens: stop.tokens, experts, probabilities });
    return routed(stop);
  };
  session.feed(tokens.subarray(0, promptTokens), 0);
  const stepMs: number[] = [];
  for (let position = promptTokens; position < tokens.length; position++) {
    beforeStep(position - promptTokens);
    const start = performance.now();
    session.feed(tokens.subarray(position, position + 1), position);
    stepMs.push(performance.now() - start);
  }
  return { sample: sampleOfPasses(passes, shape, tokens, promptTokens), stepMs };
}

function sampleOfPasses(
  passes: readonly RecordedPass[],
  { layers, experts: all, expertsUsed }: ModelShape,
  tokens: Int32Array,
  promptTokens: number,
): TraceSample {
  const { length } = tokens;
  const experts = new Uint16Array(length * layers * expertsUsed).fill(NO_ID);
  const probs = new Float32Array(length * layers * all);
  const batches = new Uint32Array(length);
  let position = 0;
  for (const [batch, pass] of passes.entries()) {
    batches.fill(batch, position, position + pass.tokens);
    for (const [layer, stop] of pass.layers.entries()) {
      const used = stop.experts.length / stop.tokens;
      for (let token = 0; token < stop.tokens; token++) {
        // The last layer runs only the last tokens of a prompt.
        const row = (position + pass.tokens - stop.tokens + token) * layers + layer;
        experts.set(stop.experts.slice(token * used, (token + 1) * used), row * expertsUsed);
        probs.set(stop.probabilities.subarray(token * all, (token + 1) * all), row * all);
      }
    }
    position += pass.tokens;
  }
  return {
    ...{ sample: 0, domain: "text", length, experts, probs, batches, tokens },
    phases: Uint8Array.from(tokens, (_, i) => (i < promptTokens ? PREFILL : DECODE)),
    ...{ weights: undefined, hidden: undefined, predicted: undefined, loss: undefined },
  };
}
