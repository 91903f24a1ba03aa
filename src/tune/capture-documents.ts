/**
 * Runs documents through a model, streamed or not, and spools what its routers were given: the inputs that gates are tuned on.
 * With other gates in the place of the model's own where an earlier sweep made some. It holds the thread while batches are
 * computed.
 */
import type { GateValues } from "../adapter/index.ts";
import { type EngineSettings, type SessionEvents, sessionOptions } from "../engine/engine-settings.ts";
import { openSession } from "../engine/open-session.ts";
import type { Session } from "../engine/session.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import type { Scoring } from "../llama/graph-hook.ts";
import type { GenerateSettings } from "../trace/record/recording-job.ts";
import { RoutingBuffer, type RoutingBufferOptions, routingBufferBytes } from "../trace/record/routing-buffer.ts";
import { type RecordedPiece, SampleRecorder } from "../trace/record/sample-recorder.ts";
import { DECODE, PREFILL } from "../trace/trace.ts";
import { type CaptureBatches, captureBatches } from "./capture-batches.ts";
import { CapturedInputs } from "./captured-inputs.ts";
import { TuneError } from "./errors.ts";
import { RouterSwitch } from "./router-switch.ts";

/** Text whose router inputs are wanted. */
export interface CaptureDocument {
  readonly domain: string;
  readonly tokens: Int32Array;
  /** `[tokens]` PREFILL for a prompt, DECODE for what a model made of it. */
  readonly phases: Uint8Array;
}

/** The start of a document that the model goes on with. */
export interface CapturePrompt {
  readonly domain: string;
  readonly tokens: Int32Array;
  readonly decodeTokens: number;
}

export interface CaptureOptions extends SessionEvents {
  readonly model: string;
  readonly engine: EngineSettings;
  /** Tokens of a document at most, what is generated included. */
  readonly documentTokens: number;
  /** Gates in the place of the model's own. @default none */
  readonly gates?: readonly GateValues[];
  /** Where the inputs lie; 4 bytes x width x tokens x layers. @default the system's folder for temporary files */
  readonly directory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Tokens computed. */
  readonly onTokens?: ((tokens: number) => void) | undefined;
}

export interface Capture extends Disposable {
  readonly inputs: CapturedInputs;
  /** As they were computed: what was generated included. */
  readonly documents: readonly CaptureDocument[];
  readonly scoring: Scoring;
  /** Mean loss of the text's own next tokens, nats; undefined when none had one. */
  readonly meanLoss: number | undefined;
  readonly resident: boolean;
  readonly notes: readonly string[];
}

/**
 * @param documents given text, or starts that the model goes on with by `generate`
 * @throws RoutingNotSeenError, TuneError `unsupported-router`, `too-little-disk`, what `openSession` throws, and the signal's reason
 */
export async function captureDocuments(
  documents: readonly CaptureDocument[] | readonly CapturePrompt[],
  generate: GenerateSettings | undefined,
  options: CaptureOptions,
): Promise<Capture> {
  const gguf = openGguf(options.model);
  const layout = readMoeLayout(gguf);
  const text = { longest: options.documentTokens, documents: documents.length };
  const batches = captureBatches(options.engine, gguf, layout, text);
  const inputs = new CapturedInputs({
    ...{ layers: layout.moeLayers.length, width: layout.hiddenSize, tokens: mostTokens(documents, generate) },
    ...(options.directory === undefined ? {} : { directory: options.directory }),
  });
  try {
    const shape: RoutingBufferOptions = {
      layers: layout.moeLayers.length,
      experts: layout.expertsPerLayer,
      expertsUsed: layout.expertsUsed,
      rows: batches.rows,
      hiddenWidth: layout.hiddenSize,
    };
    const buffer = new RoutingBuffer(shape);
    using open = openForCapture(options, shape, batches, buffer);
    const { session } = open;
    using recorder = new SampleRecorder({ session, buffer });
    const computed: CaptureDocument[] = [];
    const loss = { sum: 0, count: 0 };
    for (const group of groupsOf(documents, recorder)) {
      const pieces = isGiven(group)
        ? recorder.forced(group.map(({ tokens }) => tokens))
        : recorder.generated(group[0].tokens, generation(group[0], generate, computed.length));
      for await (const whole of wholeDocuments(pieces, inputs, loss, options)) {
        const document = group[whole.index];
        const phases = "phases" in document ? document.phases : whole.phases;
        inputs.endDocument(phases, document.domain);
        computed.push({ domain: document.domain, tokens: whole.tokens, phases });
      }
    }
    if (buffer.scoring === undefined)
      throw new TuneError(
        "unsupported-router",
        `How the routers of ${options.model} score cannot be seen in its graph, so they cannot be tuned.`,
      );
    return {
      ...{ inputs, documents: computed, scoring: buffer.scoring, resident: session.resident, notes: session.notes },
      meanLoss: loss.count === 0 ? undefined : loss.sum / loss.count,
      [Symbol.dispose]: () => inputs[Symbol.dispose](),
    };
  } catch (error) {
    inputs[Symbol.dispose]();
    throw error;
  }
}

/** Documents of given text. */
export function givenDocument(domain: string, tokens: Int32Array): CaptureDocument {
  return { domain, tokens, phases: new Uint8Array(tokens.length).fill(PREFILL) };
}

/** What is at hand of a text: all but a prompt counts as generated. */
export function promptTokensOf({ phases }: Pick<CaptureDocument, "phases">): number {
  const first = phases.indexOf(DECODE);
  return first < 0 ? 0 : first;
}

function openForCapture(
  { model, engine, documentTokens, gates = [], ...events }: CaptureOptions,
  shape: RoutingBufferOptions,
  { sideBySide }: CaptureBatches,
  buffer: RoutingBuffer,
): Disposable & { readonly session: Session } {
  const session = openSession(model, {
    ...sessionOptions(engine, events),
    contextSize: documentTokens,
    maxSequences: sideBySide,
    microBatchTokens: shape.rows,
    maxOutputs: shape.rows,
    onRouted: buffer.tap,
    // A layer's part of a batch is put together before it is written.
    reservedBytes: engine.reservedBytes + routingBufferBytes(shape) + 4 * shape.rows * (shape.hiddenWidth ?? 0),
  });
  const routers = gates.length === 0 ? undefined : new RouterSwitch(session.model, gates);
  return {
    session,
    [Symbol.dispose]() {
      session.dispose();
      routers?.[Symbol.dispose]();
    },
  };
}

function mostTokens(
  documents: readonly CaptureDocument[] | readonly CapturePrompt[],
  generate: GenerateSettings | undefined,
): number {
  let sum = 0;
  for (const document of documents)
    sum += document.tokens.length + ("phases" in document ? 0 : (generate?.tokens ?? document.decodeTokens));
  return sum;
}

/** Documents that are computed together: given ones that follow each other and are of the same length. */
function* groupsOf(
  documents: readonly CaptureDocument[] | readonly CapturePrompt[],
  recorder: SampleRecorder,
): Generator<readonly CaptureDocument[] | readonly CapturePrompt[]> {
  for (let from = 0, to = 0; from < documents.length; from = to) {
    const first = documents[from];
    const most = "phases" in first ? recorder.sideBySide(first.tokens.length) : 1;
    for (to = from + 1; to < documents.length && to - from < most; to++)
      if (documents[to].tokens.length !== first.tokens.length) break;
    yield documents.slice(from, to) as readonly CaptureDocument[] | readonly CapturePrompt[];
  }
}

function isGiven(
  documents: readonly CaptureDocument[] | readonly CapturePrompt[],
): documents is readonly CaptureDocument[] {
  return "phases" in documents[0];
}

function generation({ decodeTokens }: CapturePrompt, generate: GenerateSettings | undefined, index: number) {
  if (generate === undefined) throw new RangeError("A prompt is gone on with by some settings");
  const { ignoreEndOfGeneration, temperature, topK, topP, minP, seed } = generate;
  return {
    tokens: generate.tokens ?? decodeTokens,
    ignoreEndOfGeneration,
    sampling: { temperature, topK, topP, minP, seed: (seed + index) % 2 ** 32 },
  };
}

/** Writes the inputs of each piece, and yields a document with its last one. */
async function* wholeDocuments(
  pieces: Iterable<RecordedPiece>,
  inputs: CapturedInputs,
  loss: { sum: number; count: number },
  { signal, onTokens }: CaptureOptions,
): AsyncGenerator<{ readonly index: number; readonly tokens: Int32Array; readonly phases: Uint8Array }> {
  const tokens: number[] = [];
  const phases: number[] = [];
  for (const piece of pieces) {
    tokens.push(...(piece.tokens ?? []));
    phases.push(...piece.phases);
    inputs.extend(piece.hidden as Float32Array, piece.length);
    for (const value of piece.loss ?? [])
      if (!Number.isNaN(value)) {
        loss.sum += value;
        loss.count++;
      }
    onTokens?.(piece.length);
    if (piece.last)
      yield {
        index: piece.index,
        tokens: Int32Array.from(tokens.splice(0)),
        phases: Uint8Array.from(phases.splice(0)),
      };
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  }
}
