/**
 * A recording from beginning to end in this process: opens the model, cuts the texts, records sample by sample into the
 * trace. It holds the thread while batches are computed, so it runs in a process of its own (`recorder-process.ts`);
 * tests and benches use it directly.
 */
import { existsSync } from "node:fs";
import { type SessionEvents, sessionOptions } from "../../engine/engine-settings.ts";
import { openSession } from "../../engine/open-session.ts";
import { processMemory } from "../../engine/process-memory.ts";
import type { Session } from "../../engine/session.ts";
import { readTraceJson, traceJsonPath } from "../trace-json.ts";
import { createTrace, resumeTrace, type TraceWriter } from "../trace-writer.ts";
import { describeRecording, planNote } from "./describe-recording.ts";
import { RecordingInputError } from "./errors.ts";
import type { RecordingJob, RecordingProgress, RecordingSummary } from "./recording-job.ts";
import { type PlannedSample, planRecording, type RecordingPlan } from "./recording-plan.ts";
import { RoutingBuffer, type RoutingBufferOptions, routingBufferBytes } from "./routing-buffer.ts";
import { type RecordedPiece, SampleRecorder } from "./sample-recorder.ts";
import { scoringText } from "./traced-model.ts";

const DEFAULT_MICRO_BATCH = 512;
/** Each sequence has a cache of 256 cells at least, which short samples leave mostly empty. */
const MOST_SIDE_BY_SIDE = 16;
/** Encoders and the rows that wait for them, on top of the recorder's own arrays. */
const WRITER_BYTES = 24 * 2 ** 20;
/** Other work of the process, such as messages, gets its turn this often. */
const YIELD_MS = 100;

export interface RecordingEvents extends SessionEvents {
  readonly onProgress?: (progress: RecordingProgress) => void;
}

/**
 * Records until all samples are in the trace. After an error, or when it is given up, the whole samples stay there.
 * @throws RecordingInputError, RoutingNotSeenError, TraceError, LogitsNotFiniteError; what `openSession` and
 *   `Session.decode` throw
 */
export async function runRecording(job: RecordingJob, events: RecordingEvents = {}): Promise<RecordingSummary> {
  // What is wrong with texts, settings or an earlier trace is said before many gigabytes of weights are read.
  const plan = planRecording(job);
  const canResume = job.resume && existsSync(traceJsonPath(job.directory));
  await using earlier = canResume ? await resume(plan) : undefined;
  const shape = bufferShape(plan);
  const buffer = new RoutingBuffer(shape);
  using session = openForRecording(plan, events, shape, buffer);
  await using recording = new Recording({ plan, session, buffer, events, earlier });
  return await recording.run();
}

/** Opens the trace that an interrupted recording left. @throws RecordingInputError `other-recording`, TraceError */
async function resume(plan: RecordingPlan): Promise<TraceWriter> {
  const { directory } = plan.job;
  const { description } = await readTraceJson(directory);
  // How the routers score is seen only when something is computed; the model's hash vouches for it.
  const now = describeRecording(plan, description.model.scoring, undefined);
  if (now.model.hash === description.model.hash && !description.recording.notes.includes(planNote(plan)))
    throw new RecordingInputError(
      "other-recording",
      `${directory} was recorded from other texts or with other settings. ` +
        "Give the same ones to go on with it, or another directory.",
    );
  return await resumeTrace(directory, now, { plannedSamples: plan.samples.length });
}

/** Rows for the routing of one micro-batch. */
function bufferShape(plan: RecordingPlan): RoutingBufferOptions {
  const { job, layout, length } = plan;
  return {
    layers: layout.moeLayers.length,
    experts: layout.expertsPerLayer,
    expertsUsed: layout.expertsUsed,
    rows: Math.min(microBatchOf(job), sequences(plan) * length),
    probs: job.probs,
    hiddenWidth: job.hidden ? layout.hiddenSize : 0,
  };
}

/** Given samples go side by side while they fit; what is generated goes alone, as it would for whoever reads it. */
function sequences({ job, length, samples }: RecordingPlan): number {
  if (job.generate !== undefined) return 1;
  return Math.max(1, Math.min(Math.floor(microBatchOf(job) / length), MOST_SIDE_BY_SIDE, samples.length));
}

function microBatchOf({ engine }: RecordingJob): number {
  return engine.microBatchTokens ?? DEFAULT_MICRO_BATCH;
}

function openForRecording(
  plan: RecordingPlan,
  events: RecordingEvents,
  shape: RoutingBufferOptions,
  buffer: RoutingBuffer,
): Session {
  const { engine, model } = plan.job;
  return openSession(model, {
    ...sessionOptions(engine, events),
    router: engine.router,
    contextSize: plan.length,
    maxSequences: sequences(plan),
    microBatchTokens: shape.rows,
    maxOutputs: shape.rows,
    onRouted: buffer.tap,
    reservedBytes: engine.reservedBytes + routingBufferBytes(shape) + WRITER_BYTES,
  });
}

interface RecordingParts {
  readonly plan: RecordingPlan;
  readonly session: Session;
  readonly buffer: RoutingBuffer;
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
    const { plan, session } = this.#parts;
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
      directory: plan.job.directory,
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
    const { samples, job } = this.#parts.plan;
    if (job.generate !== undefined) return samples.slice(next, next + 1);
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
    const { generate } = this.#parts.plan.job;
    if (generate === undefined) return this.#recorder.forced(group.map((sample) => sample.tokens()));
    const { ignoreEndOfGeneration, seed, temperature, topK, topP, minP } = generate;
    const [{ tokens, decodeTokens }] = group;
    return this.#recorder.generated(tokens(), {
      tokens: decodeTokens,
      ignoreEndOfGeneration,
      sampling: { temperature, topK, topP, minP, seed: (seed + (this.#writer?.samples ?? 0)) % 2 ** 32 },
    });
  }

  async #write(piece: RecordedPiece, domain: string): Promise<void> {
    this.#writer ??= await this.#create();
    const writer = this.#writer;
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

  /** Not before something was computed, because the trace tells how the routers score. */
  #create(): Promise<TraceWriter> {
    const { plan, session, buffer } = this.#parts;
    const { model, directory } = plan.job;
    const { resident, microBatchTokens } = session;
    const scoring = buffer.scoring === undefined ? null : scoringText(model, buffer.scoring);
    const run = { resident, microBatchTokens, expertBudgetBytes: session.plan.expertBudgetBytes };
    return createTrace(directory, describeRecording(plan, scoring, run), { plannedSamples: plan.samples.length });
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
