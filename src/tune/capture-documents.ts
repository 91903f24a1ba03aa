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

const MOST_PASS_TOKENS = 256;

/**
 * @param documents given text, or starts that the model goes on with by `generate`
 * @throws RoutingNotSeenError, TuneError `unsupported-router`, what `openSession` throws, and the signal's reason
 */
export async function captureDocuments(
  documents: readonly CaptureDocument[] | readonly CapturePrompt[],
  generate: GenerateSettings | undefined,
  options: CaptureOptions,
): Promise<Capture> {
  const layout = readMoeLayout(openGguf(options.model));
  const shape: RoutingBufferOptions = {
    layers: layout.moeLayers.length,
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    rows: Math.min(options.engine.microBatchTokens ?? MOST_PASS_TOKENS, options.documentTokens),
    hiddenWidth: layout.hiddenSize,
  };
  const buffer = new RoutingBuffer(shape);
  using open = openForCapture(options, shape, buffer);
  const { session } = open;
  using recorder = new SampleRecorder({ session, buffer });
  const inputs = new CapturedInputs({
    layers: shape.layers,
    width: layout.hiddenSize,
    ...(options.directory === undefined ? {} : { directory: options.directory }),
  });
  try {
    const computed: CaptureDocument[] = [];
    const loss = { sum: 0, count: 0 };
    for (const [index, document] of documents.entries()) {
      const pieces =
        "phases" in document
          ? recorder.forced([document.tokens])
          : recorder.generated(document.tokens, generation(document, generate, index));
      const whole = await wholeDocument(pieces, loss, options);
      const phases = "phases" in document ? document.phases : whole.phases;
      inputs.append(phases, document.domain, whole.hidden);
      computed.push({ domain: document.domain, tokens: whole.tokens, phases });
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
  buffer: RoutingBuffer,
): Disposable & { readonly session: Session } {
  const session = openSession(model, {
    ...sessionOptions(engine, events),
    contextSize: documentTokens,
    microBatchTokens: shape.rows,
    maxOutputs: shape.rows,
    onRouted: buffer.tap,
    // A whole document's inputs are put together before they are written.
    reservedBytes: engine.reservedBytes + 2 * routingBufferBytes(shape) + documentBytes(shape, documentTokens),
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

function documentBytes({ layers, hiddenWidth = 0 }: RoutingBufferOptions, tokens: number): number {
  return 4 * tokens * layers * hiddenWidth;
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

async function wholeDocument(
  pieces: Iterable<RecordedPiece>,
  loss: { sum: number; count: number },
  { signal, onTokens }: CaptureOptions,
): Promise<{ tokens: Int32Array; phases: Uint8Array; hidden: Float32Array }> {
  const tokens: number[] = [];
  const phases: number[] = [];
  const hidden: Float32Array[] = [];
  // Pieces are views of memory that the next one overwrites.
  for (const piece of pieces) {
    tokens.push(...(piece.tokens ?? []));
    phases.push(...piece.phases);
    hidden.push((piece.hidden as Float32Array).slice());
    for (const value of piece.loss ?? [])
      if (!Number.isNaN(value)) {
        loss.sum += value;
        loss.count++;
      }
    onTokens?.(piece.length);
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  }
  const all = new Float32Array(hidden.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of hidden) {
    all.set(part, at);
    at += part.length;
  }
  return { tokens: Int32Array.from(tokens), phases: Uint8Array.from(phases), hidden: all };
}
