/**
 * A recording from beginning to end in this process: opens the model, cuts the texts, records sample by sample into the
 * trace. It holds the thread while batches are computed, so it runs in a process of its own (`recorder-process.ts`);
 * tests and benches use it directly.
 */
import { existsSync } from "node:fs";
import { openSession } from "../../engine/open-session.ts";
import { processMemory } from "../../engine/process-memory.ts";
import type { Session } from "../../engine/session.ts";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { policyByName } from "../../policy/index.ts";
import type { TraceDescription } from "../trace.ts";
import { readTraceJson, traceJsonPath } from "../trace-json.ts";
import { createTrace, resumeTrace, type TraceWriter } from "../trace-writer.ts";
import { describeRecording, planNote } from "./describe-recording.ts";
import { RecordingInputError } from "./errors.ts";
import type { RecordingJob, RecordingProgress, RecordingSummary } from "./recording-job.ts";
import { type PlannedSample, planRecording, type RecordingPlan, recordedLength } from "./recording-plan.ts";
import { RoutingBuffer, type RoutingBufferOptions, routingBufferBytes } from "./routing-buffer.ts";
import { type RecordedPiece, SampleRecorder } from "./sample-recorder.ts";

const DEFAULT_MICRO_BATCH = 512;
/** Each sequence has a cache of 256 cells at least, which short samples leave mostly empty. */
const MOST_SIDE_BY_SIDE = 16;
/** Encoders and the rows that wait for them, on top of the recorder's own arrays. */
const WRITER_BYTES = 24 * 2 ** 20;
/** Other work of the process, such as messages, gets its turn this often. */
const YIELD_MS = 100;

export interface RecordingEvents {
  readonly onLoad?: (bytesRead: number, bytesTotal: number) => void;
  readonly onProgress?: (progress: RecordingProgress) => void;
  /** Turns non-zero when the recording is to be given up: address of a byte. @default none */
  readonly abortAddress?: number | undefined;
}

/**
 * Records until all samples are in the trace. After an error, or when it is given up, the whole samples stay there.
 * @throws RecordingInputError, RoutingNotSeenError, TraceError, LogitsNotFiniteError; what `openSession` and
 *   `Session.decode` throw
 */
export async function runRecording(job: RecordingJob, events: RecordingEvents = {}): Promise<RecordingSummary> {
  const length = recordedLength(job);
  const shape = bufferShape(job, length);
  const buffer = new RoutingBuffer(shape);
  using session = openForRecording(job, events, { buffer, shape, length });
  const plan = planRecording(job, session.model.vocabulary);
  const describe = (): TraceDescription => {
    const { scoring } = buffer;
    return describeRecording({ job, plan, session, length, scoring, hiddenWidth: shape.hiddenWidth ?? 0 });
  };
  const earlier =
    job.resume && existsSync(traceJsonPath(job.directory)) ? await resume(job, plan, describe) : undefined;
  await using recording = new Recording({ job, plan, session, buffer, describe, events, earlier });
  return await recording.run();
}

/** Rows for the routing of one micro-batch. */
function bufferShape(job: RecordingJob, length: number): RoutingBufferOptions {
  const layout = readMoeLayout(openGguf(job.model));
  return {
    layers: layout.moeLayers.length,
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    rows: Math.min(job.engine.microBatchTokens ?? DEFAULT_MICRO_BATCH, sequences(job, length) * length),
    probs: job.probs,
    hiddenWidth: job.hidden ? layout.hiddenSize : 0,
  };
}

/** Given samples go side by side while they fit; what is generated goes alone, as it would for whoever reads it. */
function sequences({ generate, engine, samples, texts }: RecordingJob, length: number): number {
  if (generate !== undefined) return 1;
  const fitting = Math.floor((engine.microBatchTokens ?? DEFAULT_MICRO_BATCH) / length);
  return Math.max(1, Math.min(fitting, MOST_SIDE_BY_SIDE, (samples ?? Number.POSITIVE_INFINITY) * texts.length));
}

function openForRecording(
  job: RecordingJob,
  events: RecordingEvents,
  use: { readonly buffer: RoutingBuffer; readonly shape: RoutingBufferOptions; readonly length: number },
): Session {
  const { engine } = job;
  return openSession(job.model, {
    memory: engine.memory,
    policy: policyByName(engine.policy),
    contextSize: use.length,
    maxSequences: sequences(job, use.length),
    microBatchTokens: use.shape.rows,
    maxOutputs: use.shape.rows,
    onRouted: use.buffer.tap,
    reservedBytes: engine.reservedBytes + routingBufferBytes(use.shape) + WRITER_BYTES,
    verbose: engine.verbose,
    ...(engine.threads === undefined ? {} : { threads: engine.threads }),
    ...(engine.backend === undefined ? {} : { backend: engine.backend }),
    ...(engine.io === undefined ? {} : { io: engine.io }),
    ...(events.abortAddress === undefined ? {} : { abortAddress: events.abortAddress }),
    ...(events.onLoad === undefined ? {} : { onProgress: events.onLoad }),
  });
}

/** Opens the trace that an interrupted recording left. @throws RecordingInputError `other-recording`, TraceError */
async function resume(job: RecordingJob, plan: RecordingPlan, describe: () => TraceDescription): Promise<TraceWriter> {
  const { description } = await readTraceJson(job.directory);
  const now = describe();
  // Nothing has been computed yet, so how the routers score is not known again; the model's hash vouches for it.
  const model = { ...now.model, scoring: description.model.scoring };
  if (model.hash === description.model.hash && !description.recording.notes.includes(planNote(plan)))
    throw new RecordingInputError(
      "other-recording",
      `${job.directory} was recorded from other texts or with other settings. ` +
        "Give the same ones to go on with it, or another directory.",
    );
  return await resumeTrace(job.directory, { ...now, model }, { plannedSamples: plan.samples.length });
}

interface RecordingParts {
  readonly job: RecordingJob;
  readonly plan: RecordingPlan;
  readonly session: Session;
  readonly buffer: RoutingBuffer;
  readonly describe: () => TraceDescription;
  readonly events: RecordingEvents;
  readonly earlier: TraceWriter | undefined;
}

class Recording implements AsyncDisposable {
  readonly #parts: RecordingParts;
  readonly #recorder: SampleRecorder;
  readonly #firstSample: number;
  readonly #firstToken: number;
  #writer: TraceWriter | undefined;
  /** Tokens of the sample under way. */
  #openTokens = 0;
  #yieldedAt = 0;
  #lossSum = 0;
  #losses = 0;

  constructor(parts: RecordingParts) {
    const { session, buffer, earlier } = parts;
    this.#parts = parts;
    this.#writer = earlier;
    this.#firstSample = earlier?.samples ?? 0;
    this.#firstToken = earlier?.tokens ?? 0;
    // There are no more passes than tokens, so no number is given twice in one trace.
    this.#recorder = new SampleRecorder({ session, buffer, firstBatch: this.#firstToken });
  }

  async run(): Promise<RecordingSummary> {
    const { job, plan, session } = this.#parts;
    const start = performance.now();
    for (let next = this.#firstSample; next < plan.samples.length; ) {
      const group = this.#group(next);
      await this.#record(group);
      next += group.length;
    }
    const writer = this.#writer;
    if (writer === undefined) throw new Error("A recording without samples");
    await writer.finish();
    return {
      directory: job.directory,
      samples: writer.samples,
      tokens: writer.tokens,
      tokensNow: writer.tokens - this.#firstToken,
      recordingMs: performance.now() - start,
      loadMs: session.load.ms,
      meanLoss: this.#losses === 0 ? undefined : this.#lossSum / this.#losses,
      domains: countDomains(plan.samples),
      resident: session.resident,
      microBatchTokens: session.microBatchTokens,
      peakRssBytes: processMemory().peakBytes,
      notes: session.notes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#recorder.dispose();
    await this.#writer?.[Symbol.asyncDispose]();
  }

  /** The samples from `next` on that are computed together. */
  #group(next: number): readonly PlannedSample[] {
    const { samples } = this.#parts.plan;
    if (this.#parts.job.generate !== undefined) return samples.slice(next, next + 1);
    return samples.slice(next, next + this.#recorder.sideBySide(samples[next].length));
  }

  async #record(group: readonly PlannedSample[]): Promise<void> {
    for (const piece of this.#pieces(group)) {
      await this.#write(piece, group[piece.index].domain);
      this.#tell();
      if (performance.now() - this.#yieldedAt < YIELD_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      this.#yieldedAt = performance.now();
    }
  }

  #pieces(group: readonly PlannedSample[]): Generator<RecordedPiece> {
    const { generate } = this.#parts.job;
    if (generate === undefined) return this.#recorder.forced(group.map((sample) => sample.tokens()));
    const { tokens, ignoreEndOfGeneration, seed, ...sampling } = generate;
    return this.#recorder.generated(group[0].tokens(), {
      tokens,
      ignoreEndOfGeneration,
      sampling: { ...sampling, seed: (seed + (this.#writer?.samples ?? 0)) % 2 ** 32 },
    });
  }

  async #write(piece: RecordedPiece, domain: string): Promise<void> {
    // Not before something was computed, because the trace tells how the routers score.
    const writer = (this.#writer ??= await createTrace(this.#parts.job.directory, this.#parts.describe(), {
      plannedSamples: this.#parts.plan.samples.length,
    }));
    if (this.#openTokens === 0) writer.beginSample(domain);
    await writer.append(piece);
    this.#openTokens += piece.length;
    for (const loss of piece.loss ?? [])
      if (!Number.isNaN(loss)) {
        this.#lossSum += loss;
        this.#losses++;
      }
    if (!piece.last) return;
    await writer.endSample();
    this.#openTokens = 0;
  }

  #tell(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    const { plan, events } = this.#parts;
    events.onProgress?.({
      samples: writer.samples,
      plannedSamples: plan.samples.length,
      tokens: writer.tokens + this.#openTokens,
      plannedTokens: plan.tokens,
      safeSamples: writer.safeSamples,
    });
  }
}

function countDomains(samples: readonly PlannedSample[]): { domain: string; samples: number }[] {
  const counts = new Map<string, number>();
  for (const { domain } of samples) counts.set(domain, (counts.get(domain) ?? 0) + 1);
  return [...counts].map(([domain, count]) => ({ domain, samples: count }));
}
