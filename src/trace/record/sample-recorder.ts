/**
 * Runs samples through a session and yields what was recorded, piece by piece: several short samples side by side in one
 * batch, a long one in several batches, a generated one token by token. It owns the arrays that the pieces are views of
 * and knows nothing of files.
 */
import type { Phase } from "../../cache/policy.ts";
import type { Session } from "../../engine/session.ts";
import { Batch, createSampler, type SamplerOptions } from "../../llama/index.ts";
import { PredictionScorer } from "../../llama/prediction-scores.ts";
import { DECODE, PREFILL, type TracePiece } from "../trace.ts";
import type { RoutingBuffer } from "./routing-buffer.ts";

/** A piece of the `index`-th of the samples that were given; pieces of one sample follow one another. */
export interface RecordedPiece extends TracePiece {
  readonly index: number;
  /** The sample's last one. */
  readonly last: boolean;
}

export interface GenerationOptions {
  /** Tokens to generate and to compute, at least 1; fewer when the model ends. */
  readonly tokens: number;
  readonly sampling: SamplerOptions;
  /** Go on after the model's end-of-generation token. */
  readonly ignoreEndOfGeneration: boolean;
}

export interface SampleRecorderOptions {
  /** With `buffer.tap` as its `onRouted`, and `maxOutputs` of the whole micro-batch. */
  readonly session: Session;
  /** With rows for the session's micro-batch. */
  readonly buffer: RoutingBuffer;
  /** Number of the first forward pass. @default 0 */
  readonly firstBatch?: number;
}

/** Neighbouring tokens of one sequence. */
interface Span {
  readonly tokens: Int32Array;
  readonly sequence: number;
  readonly from: number;
  readonly to: number;
}

/** No token, in the column of true next ones. */
const NONE = -1;

export class SampleRecorder implements Disposable {
  readonly #session: Session;
  readonly #buffer: RoutingBuffer;
  readonly #batch: Batch;
  readonly #scorer: PredictionScorer;
  readonly #rows: number;
  readonly #phases: Uint8Array;
  readonly #batches: Uint32Array;
  readonly #tokens: Int32Array;
  /** The token behind each row's. */
  readonly #next: Int32Array;
  readonly #predicted: Int32Array;
  readonly #loss: Float32Array;
  #nextBatch: number;

  constructor({ session, buffer, firstBatch = 0 }: SampleRecorderOptions) {
    const rows = session.microBatchTokens;
    this.#session = session;
    this.#buffer = buffer;
    this.#rows = rows;
    this.#nextBatch = firstBatch;
    this.#batch = new Batch({ capacity: rows });
    this.#scorer = new PredictionScorer(session.model.libraries, session.model.vocabulary.size);
    this.#phases = new Uint8Array(rows);
    this.#batches = new Uint32Array(rows);
    this.#tokens = new Int32Array(rows);
    this.#next = new Int32Array(rows);
    this.#predicted = new Int32Array(rows);
    this.#loss = new Float32Array(rows);
  }

  /** Samples of `length` tokens that are computed in one batch. */
  sideBySide(length: number): number {
    return Math.max(1, Math.min(this.#session.context.maxSequences, Math.floor(this.#rows / length)));
  }

  /**
   * Records samples whose tokens are given, all of the same length, at most `sideBySide` of them. A piece is valid until
   * the next one is asked for.
   * @throws what `Session.decode`, the buffer and the scorer throw
   */
  *forced(samples: readonly Int32Array[]): Generator<RecordedPiece> {
    this.#session.context.clear();
    const { length } = samples[0];
    if (samples.length === 1) return yield* this.#given(samples[0], true);
    this.#compute(
      0,
      samples.map((tokens, sequence) => ({ tokens, sequence, from: 0, to: length })),
    );
    this.#score(0, samples.length * length);
    for (let i = 0; i < samples.length; i++) yield this.#piece(i, i * length, (i + 1) * length, true);
  }

  /** Records a prompt and what the model makes of it, as above. */
  *generated(prompt: Int32Array, options: GenerationOptions): Generator<RecordedPiece> {
    const { context, model } = this.#session;
    using sampler = createSampler(model, options.sampling);
    context.clear();
    sampler.acceptPrompt(prompt);
    const draw = (): number => {
      const token = sampler.sample(context, -1);
      return !options.ignoreEndOfGeneration && model.vocabulary.isEndOfGeneration(token) ? NONE : token;
    };
    let token = NONE;
    yield* this.#given(prompt, false, () => (token = draw()));
    let rows = 0;
    const step = new Int32Array(1);
    for (let made = 0; token !== NONE; made++) {
      step[0] = token;
      this.#compute(rows, [{ tokens: step, sequence: 0, from: 0, to: 1 }], prompt.length + made);
      token = made + 1 < options.tokens ? draw() : NONE;
      this.#next[rows] = token;
      this.#score(rows, rows + 1);
      rows++;
      if (rows < this.#rows && token !== NONE) continue;
      yield this.#piece(0, 0, rows, token === NONE);
      rows = 0;
    }
  }

  dispose(): void {
    this.#scorer.dispose();
    this.#batch.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** One sequence's tokens in as many batches as they need. `behind` tells which token follows the last one. */
  *#given(tokens: Int32Array, isWhole: boolean, behind: () => number = () => NONE): Generator<RecordedPiece> {
    for (let from = 0; from < tokens.length; from += this.#rows) {
      const to = Math.min(from + this.#rows, tokens.length);
      this.#compute(0, [{ tokens, sequence: 0, from, to }]);
      const isEnd = to === tokens.length;
      const next = isEnd ? behind() : NONE;
      if (isEnd) this.#next[to - from - 1] = next;
      this.#score(0, to - from);
      // A prompt after which the model ends is a whole sample.
      yield this.#piece(0, 0, to - from, isEnd && (isWhole || next === NONE));
    }
  }

  /** Computes one batch, whose tokens take the rows from `row` on. */
  #compute(row: number, spans: readonly Span[], position?: number): void {
    const batch = this.#batch;
    const first = row;
    batch.clear();
    for (const { tokens, sequence, from, to } of spans)
      for (let i = from; i < to; i++, row++) {
        // All want logits: without, the last layers compute only the tokens that do, and routing would be missing there.
        batch.add(tokens[i], position ?? i, sequence, true);
        this.#tokens[row] = tokens[i];
        this.#next[row] = i + 1 < tokens.length ? tokens[i + 1] : NONE;
      }
    const phase: Phase = position === undefined ? "prefill" : "decode";
    this.#phases.fill(phase === "prefill" ? PREFILL : DECODE, first, row);
    this.#batches.fill(this.#nextBatch++, first, row);
    this.#buffer.begin(first, row - first);
    this.#session.decode(batch, phase, this.#tokens.slice(first, row));
    this.#buffer.finish();
  }

  #score(from: number, to: number): void {
    this.#scorer.score(
      this.#session.context.logitsAddress(),
      this.#next.subarray(from, to),
      this.#predicted.subarray(from, to),
      this.#loss.subarray(from, to),
    );
  }

  #piece(index: number, from: number, to: number, last: boolean): RecordedPiece {
    const { experts, weights, probs, hidden } = this.#buffer.rows(from, to);
    return {
      index,
      last,
      length: to - from,
      phases: this.#phases.subarray(from, to),
      batches: this.#batches.subarray(from, to),
      experts,
      weights,
      probs,
      hidden,
      tokens: this.#tokens.subarray(from, to),
      predicted: this.#predicted.subarray(from, to),
      loss: this.#loss.subarray(from, to),
    };
  }
}
