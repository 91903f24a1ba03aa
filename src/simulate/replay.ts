/**
 * One replay: a trace's samples run through the engine's own `ExpertStream` (and so its cache and policy), with a memory
 * and a clock of our own instead of a drive and a model. It calls the stream when the graph hook would, computes for as
 * long as the model would, and counts. One policy, one cache size; `sweep.ts` runs many.
 */
import type { ExpertCacheOptions } from "../cache/expert-cache.ts";
import { largestMicroBatch, smallestBudgetBytes } from "../cache/layer-budget.ts";
import type { Phase, Policy } from "../cache/policy.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import { type CacheCounters, type CacheStatistics, emptyCounters } from "../cache/statistics.ts";
import { ExpertStream } from "../engine/expert-stream.ts";
import type { RecordedFuture } from "../policy/recorded-future.ts";
import type { TraceDescription, TracedModel, TraceSample } from "../trace/trace.ts";
import { batchMs } from "./compute-model.ts";
import { CacheTooSmallError } from "./errors.ts";
import { ForwardPasses, type PassOptions } from "./forward-passes.ts";
import { futureOfSample } from "./future-of-trace.ts";
import { checkMachine, type MachineModel } from "./machine-model.ts";
import { checkReplayable, type ReplayPolicy } from "./policies.ts";
import type { SampleSignals } from "./sample-signals.ts";
import { SimulatedMemory } from "./simulated-memory.ts";
import { TracedStop } from "./traced-stop.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** What the cache holds when a sample begins: "warm": what the sample before left; "cold": nothing, as after a start. */
export type SampleStart = "warm" | "cold";

export interface ReplayOptions extends ExpertCacheOptions {
  readonly trace: TraceDescription;
  readonly policy: ReplayPolicy;
  /** Budget of the experts. */
  readonly cacheBytes: number;
  readonly machine: MachineModel;
  readonly passes?: PassOptions;
  /** @default "warm" */
  readonly start?: SampleStart;
  /** Decode steps at the start (of the replay, or of each sample when each starts cold) that are not counted. @default 0 */
  readonly warmupTokens?: number;
  /** All samples to come, for policies that know the future and start warm (`futureOfTrace`). */
  readonly future?: RecordedFuture;
  /** Is told every forward pass when it is over, those of the warm-up too. @default nobody is told */
  readonly onPass?: (pass: ReplayedPass) => void;
}

/** One forward pass. Times in ms; computing, waiting and management add up to `wallMs`. */
export interface ReplayedPass {
  /** Number of its sample. */
  readonly request: number;
  readonly phase: Phase;
  readonly tokens: number;
  readonly wallMs: number;
  readonly computeMs: number;
  readonly stallMs: number;
  readonly managementMs: number;
}

/** What came of the forward passes of one phase. The three times add up to `wallMs`. */
export interface PhaseFigures {
  readonly tokens: number;
  readonly passes: number;
  readonly routerStops: number;
  readonly wallMs: number;
  readonly computeMs: number;
  /** Waiting for experts. */
  readonly stallMs: number;
  /** Stopping the graph, and handing over reads. */
  readonly managementMs: number;
  readonly counters: Readonly<CacheCounters>;
}

export interface ReplayFigures {
  readonly prefill: PhaseFigures;
  readonly decode: PhaseFigures;
  /** Bytes of speculative reads that nobody had used at the end. */
  readonly bytesUnused: number;
  /** What the last cache's policy told of its mechanisms at its end. */
  readonly policyFigures: Readonly<Record<string, number>> | undefined;
}

type Sums = { -readonly [K in Exclude<keyof PhaseFigures, "counters">]: PhaseFigures[K] } & {
  readonly counters: CacheCounters;
};

export function shapeOf(model: TracedModel): ModelShape {
  const { moeBlocks, experts, expertsUsed, expertBytes } = model;
  return { layers: moeBlocks.length, experts, expertsUsed, expertBytes };
}

/** @throws CacheTooSmallError when a cache can be too small for one token under this policy */
export function checkCache(shape: ModelShape, cacheBytes: number, { name, needs }: ReplayPolicy): void {
  const smallest = smallestBudgetBytes(shape, 1, needs);
  if (cacheBytes < smallest) throw new CacheTooSmallError(cacheBytes, smallest, needs.wholeLayers ? name : undefined);
}

/** How a trace is cut into passes for a cache of this size. */
export function passesFor(trace: TraceDescription, cacheBytes: number, options: PassOptions = {}): ForwardPasses {
  const fitting = largestMicroBatch(shapeOf(trace.model), cacheBytes);
  return new ForwardPasses(options, trace.recording.sampleLength, fitting);
}

export class Replay {
  readonly #options: ReplayOptions;
  readonly #shape: ModelShape;
  readonly #passes: ForwardPasses;
  readonly #stages: number;
  readonly #clock = new VirtualClock();
  readonly #stop: TracedStop;
  readonly #oneToken = new Int32Array(1);
  /** What one token computes, [layer] and [layer][stage]. */
  readonly #beforeRouterMs: Float64Array;
  readonly #productMs: Float64Array;
  #stream: ExpertStream | undefined;
  #memory!: SimulatedMemory;
  #iteration = 0;
  #request = -1;
  #signals: SampleSignals | undefined;
  /** First token of the running pass. */
  #from = 0;
  #warmupLeft: number;
  /** Of the present cache since its warm-up. */
  #sums: Record<Phase, Sums> = { prefill: emptySums(), decode: emptySums() };
  /** Of the caches before. */
  readonly #totals: Record<Phase, Sums> = { prefill: emptySums(), decode: emptySums() };
  #bytesUnused = 0;
  #policyFigures: Readonly<Record<string, number>> | undefined;
  /** Counters of the present cache that do not count: those of the warm-up. */
  #uncounted: CacheStatistics | undefined;

  /** @throws CacheTooSmallError */
  constructor(options: ReplayOptions) {
    const { trace, cacheBytes, machine } = options;
    this.#options = options;
    this.#shape = shapeOf(trace.model);
    checkMachine(machine, this.#shape.layers);
    checkCache(this.#shape, cacheBytes, options.policy);
    this.#passes = passesFor(trace, cacheBytes, options.passes);
    const { layers } = machine.compute;
    this.#stages = layers[0].products.length;
    const k = this.#shape.expertsUsed;
    this.#beforeRouterMs = Float64Array.from(layers, ({ beforeRouter }) => batchMs(beforeRouter, 1));
    this.#productMs = Float64Array.from(
      layers.flatMap(({ products }) => products.map(({ msPerExpert, msPerUse }) => k * (msPerExpert + msPerUse))),
    );
    this.#stop = new TracedStop(trace.model, this.#passes.microBatchTokens);
    this.#warmupLeft = options.warmupTokens ?? 0;
  }

  /**
   * Samples must come in the order of the trace.
   * @param signals for policies that need what is computed from the model's weights (`SignalReader`)
   * @throws PolicyNotReplayableError, UnevenChoiceError
   */
  sample(sample: TraceSample, signals?: SampleSignals): void {
    const { start = "warm", warmupTokens = 0 } = this.#options;
    this.#signals = signals;
    checkReplayable(this.#options.policy, {
      tokens: sample.tokens !== undefined,
      hidden: sample.hidden !== undefined,
      embeddings: signals?.embeddings !== undefined,
      nextGate: signals?.nextGate !== undefined,
    });
    if (this.#stream === undefined || start === "cold") {
      this.#close();
      this.#open(sample);
      if (start === "cold") this.#warmupLeft = warmupTokens;
    }
    this.#stop.open(sample, signals);
    this.#request++;
    for (let from = 0; from < sample.length; ) {
      const to = this.#passes.end(sample, from);
      const phase = this.#passes.phase(sample, from);
      this.#pass(sample, from, to, phase);
      if (phase === "decode" && this.#warmupLeft > 0 && --this.#warmupLeft === 0) this.#forgetWarmup();
      from = to;
    }
  }

  /** Of the present cache so far, its warm-up included; undefined before the first sample. */
  statistics(): CacheStatistics | undefined {
    return this.#stream?.cache.statistics();
  }

  /** Of everything so far, but the warm-up. Ends the replay. */
  figures(): ReplayFigures {
    this.#close();
    const { prefill, decode } = this.#totals;
    return { prefill, decode, bytesUnused: this.#bytesUnused, policyFigures: this.#policyFigures };
  }

  #open(sample: TraceSample): void {
    const { policy, cacheBytes, machine, start = "warm", future, onDecision } = this.#options;
    const known =
      start === "cold" && policy.knowsFuture ? futureOfSample(this.#options.trace.model, sample, this.#passes) : future;
    const made: Policy = policy.create(known);
    this.#memory = new SimulatedMemory({
      shape: this.#shape,
      stages: this.#stages,
      disk: machine.disk,
      clock: this.#clock,
      msPerHandover: machine.engine.msPerHandover,
      msPerRequest: machine.engine.msPerRequest,
      onComplete: (key: ExpertKey) => this.#stream?.cache.completed(key),
    });
    const signals = this.#signals;
    const width = signals?.embeddingWidth ?? 0;
    this.#stream = new ExpertStream({
      shape: { ...this.#shape, hiddenSize: this.#options.trace.columns.hiddenWidth || width || undefined },
      budgetBytes: cacheBytes,
      policy: made,
      memory: this.#memory,
      microBatchTokens: this.#passes.microBatchTokens,
      nextGate: made.needs.nextGate ? { scores: () => this.#stop.nextGate() } : undefined,
      embeddings: made.needs.embeddings ? { width, rows: (tokenIds, into) => this.#rows(tokenIds, into) } : undefined,
      aborted: () => false,
      now: () => this.#clock.ms,
      ...(onDecision === undefined ? {} : { onDecision }),
    });
    this.#iteration = 0;
    this.#request = -1;
  }

  #rows({ length }: Int32Array, into: Float32Array): void {
    const { embeddings, embeddingWidth: width = 0 } = this.#signals ?? {};
    if (embeddings !== undefined) into.set(embeddings.subarray(this.#from * width, (this.#from + length) * width));
  }

  /** One batch through all layers, in the order of calls of `llama/graph-hook.ts`. */
  #pass(sample: TraceSample, from: number, to: number, phase: Phase): void {
    const stream = this.#stream as ExpertStream;
    const memory = this.#memory;
    const clock = this.#clock;
    const sums = this.#sums[phase];
    const { outside, layers } = this.#options.machine.compute;
    const { msPerStop } = this.#options.machine.engine;
    const tokens = to - from;
    const startMs = clock.ms;
    const { waitedMs, submittingMs } = memory;
    let stops = 0;

    this.#from = from;
    stream.begin(phase, this.#iteration++, this.#request, this.#tokenIds(sample, from, to), from);
    const aroundMs = batchMs(outside, tokens) / 2;
    let computeMs = 2 * aroundMs;
    clock.ms += aroundMs;
    for (let layer = 0; layer < layers.length; layer++) {
      const { beforeRouter, products } = layers[layer];
      const beforeMs = tokens === 1 ? this.#beforeRouterMs[layer] : batchMs(beforeRouter, tokens);
      computeMs += beforeMs;
      clock.ms += beforeMs;
      this.#stop.at(layer, from, to);
      stream.routed(this.#stop);
      stops++;
      clock.ms += msPerStop;
      if (this.#stop.tokens === 0) continue;
      const distinct = stream.chosenCount;
      const uses = this.#stop.tokens * this.#stop.expertsUsed;
      // Products that need not be waited for run in one group with what follows them.
      let groupMs = 0;
      for (let stage = 0; stage < this.#stages; stage++) {
        const stopsBehind = stream.multiply(layer, stage);
        const { msPerExpert, msPerUse } = products[stage];
        groupMs +=
          tokens === 1 && uses === this.#shape.expertsUsed
            ? this.#productMs[layer * this.#stages + stage]
            : distinct * msPerExpert + uses * msPerUse;
        if (!stopsBehind) continue;
        computeMs += groupMs;
        clock.ms += groupMs;
        groupMs = 0;
        stream.multiplied();
        stops++;
        clock.ms += msPerStop;
      }
      computeMs += groupMs;
      clock.ms += groupMs;
    }
    clock.ms += aroundMs;
    stream.finished();

    const stallMs = memory.waitedMs - waitedMs;
    const managementMs = memory.submittingMs - submittingMs + stops * msPerStop;
    const wallMs = clock.ms - startMs;
    sums.tokens += tokens;
    sums.passes++;
    sums.routerStops += layers.length;
    sums.computeMs += computeMs;
    sums.stallMs += stallMs;
    sums.managementMs += managementMs;
    sums.wallMs += wallMs;
    const { onPass } = this.#options;
    onPass?.({ request: sample.sample, phase, tokens, wallMs, computeMs, stallMs, managementMs });
  }

  #tokenIds(sample: TraceSample, from: number, to: number): Int32Array {
    // A token that the trace does not tell is none: one id for all would look like the same token again and again.
    if (to - from > 1) return sample.tokens?.subarray(from, to) ?? new Int32Array(to - from).fill(-1);
    this.#oneToken[0] = sample.tokens?.[from] ?? -1;
    return this.#oneToken;
  }

  #forgetWarmup(): void {
    this.#uncounted = this.#stream?.cache.statistics();
    this.#sums = { prefill: emptySums(), decode: emptySums() };
  }

  /** Gives up the present cache and adds what counts of it to the totals. */
  #close(): void {
    if (this.#stream === undefined) return;
    const { cache } = this.#stream;
    this.#policyFigures = cache.policy.figures?.();
    cache.close();
    this.#stream = undefined;
    const all = cache.statistics();
    const before = this.#uncounted;
    const sums = this.#sums;
    this.#uncounted = undefined;
    this.#sums = { prefill: emptySums(), decode: emptySums() };
    // It ended before its warm-up did.
    if (this.#warmupLeft > 0) return;
    for (const phase of ["prefill", "decode"] as const) {
      const total = this.#totals[phase];
      const { counters: _, ...times } = sums[phase];
      for (const name of Object.keys(times) as (keyof typeof times)[]) total[name] += times[name];
      addDifference(total.counters, before?.[phase], all[phase]);
    }
    this.#bytesUnused += all.bytesUnused;
  }
}

/** Adds `to - from` to the total, counter by counter. */
function addDifference(total: CacheCounters, from: Readonly<CacheCounters> | undefined, to: Readonly<CacheCounters>) {
  for (const name of Object.keys(total) as (keyof CacheCounters)[]) total[name] += to[name] - (from?.[name] ?? 0);
}

function emptySums(): Sums {
  return {
    tokens: 0,
    passes: 0,
    routerStops: 0,
    wallMs: 0,
    computeMs: 0,
    stallMs: 0,
    managementMs: 0,
    counters: emptyCounters(),
  };
}
