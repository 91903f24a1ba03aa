/**
 * Many replays of one trace, one for each policy and cache size, in one reading of it: every sample is handed to all of
 * them, on this thread or spread over workers. The replays know nothing of each other, so how many threads there are
 * changes the time and nothing else.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { PolicyNeeds } from "../cache/policy.ts";
import type { PolicyResources } from "../policy/by-name.ts";
import type { RecordedFuture } from "../policy/recorded-future.ts";
import type { RouterPredictor } from "../predict/router-predictor.ts";
import {
  NO_ID,
  type TraceDescription,
  type TraceSample,
  type TraceSource,
  type WantedColumns,
} from "../trace/trace.ts";
import type { PassOptions } from "./forward-passes.ts";
import { futureOfTrace } from "./future-of-trace.ts";
import { checkMachine, type MachineModel } from "./machine-model.ts";
import { checkReplayable, type ReplayPolicy, replayPolicy } from "./policies.ts";
import { checkCache, passesFor, Replay, type SampleStart, shapeOf } from "./replay.ts";
import { type SampleSignals, SignalReader, type TracedWeights } from "./sample-signals.ts";
import { type SimulationRow, simulationRow } from "./simulation-row.ts";
import { SweepWorkers } from "./sweep-workers.ts";

export interface SimulateOptions {
  /** Names, see `replayPolicyNames`. */
  readonly policies: readonly string[];
  /** Budgets of the experts. */
  readonly cacheBytes: readonly number[];
  readonly machine: MachineModel;
  /** Of the traced model, for policies that need its embedding rows or routers. @default such policies are refused */
  readonly weights?: TracedWeights;
  /** A file of expert maps that `finemoe` begins with (`warmset maps`). @default none */
  readonly maps?: Uint8Array;
  /** What `promoe` predicts with, of the traced model. @default none, and `promoe` is refused */
  readonly predictor?: RouterPredictor | undefined;
  /** How samples are cut into forward passes. @default every token a decode step */
  readonly passes?: PassOptions;
  /** @default "warm" */
  readonly start?: SampleStart;
  /** Decode steps at the start that are not counted. @default 0 */
  readonly warmupTokens?: number;
  /** Worker threads; 0 and 1: this thread alone. @default 1 */
  readonly workers?: number;
  /** Ends the simulation with the signal's reason. @default runs to its end */
  readonly signal?: AbortSignal;
  /** Called now and then. */
  readonly onProgress?: (progress: SimulationProgress) => void;
}

export interface SimulationProgress {
  /** Of the trace, in each replay. */
  readonly tokensDone: number;
  readonly tokens: number;
  /** Replays that go through them. */
  readonly replays: number;
}

/** Work this long without a pause keeps signals and timers waiting. */
const TURN_MS = 100;

/** One replay of a sweep. */
export interface Lane {
  readonly policy: string;
  readonly cacheBytes: number;
  /** Index into the futures, for policies that know theirs. */
  readonly future: number | undefined;
}

/** What every lane of a sweep has in common; plain data, so that workers can have it. */
export interface LaneConditions {
  readonly trace: TraceDescription;
  readonly machine: MachineModel;
  readonly passes: PassOptions;
  readonly start: SampleStart;
  readonly warmupTokens: number;
  readonly futures: readonly RecordedFuture[];
  /** See `SimulateOptions.maps`. */
  readonly maps: Uint8Array | undefined;
  /** See `SimulateOptions.predictor`. */
  readonly predictor: RouterPredictor | undefined;
}

export interface Simulation {
  readonly rows: readonly SimulationRow[];
  /** What was replayed, in each row. */
  readonly samples: number;
  readonly tokens: number;
  /** What a reader of the rows must know, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Rows in the order of `cacheBytes`, and of `policies` within each.
 * @throws UnknownPolicyError, PolicyNotReplayableError, CacheTooSmallError before anything is read; TraceError
 */
export async function simulate(source: TraceSource, options: SimulateOptions): Promise<Simulation> {
  const { machine, weights = {}, passes = {}, start = "warm", warmupTokens = 0, workers = 1, signal } = options;
  const trace = source.description;
  const shape = shapeOf(trace.model);
  checkMachine(machine, shape.layers);
  const policies = options.policies.map(replayPolicy);
  for (const policy of policies) {
    checkReplayable(policy, signalsThere(trace, weights));
    for (const bytes of options.cacheBytes) checkCache(shape, bytes, policy);
  }

  const futures = new Futures(source, passes, signal);
  const lanes: Lane[] = [];
  for (const cacheBytes of options.cacheBytes)
    for (const { name, knowsFuture } of policies) {
      const future = knowsFuture && start === "warm" ? await futures.of(cacheBytes) : undefined;
      lanes.push({ policy: name, cacheBytes, future });
    }
  const { maps, predictor } = options;
  const conditions: LaneConditions = {
    ...{ trace, machine, passes, start, warmupTokens, maps, predictor },
    futures: futures.all,
  };
  const needs = needsOf(policies);
  const wanted = wantedColumns(trace, needs);
  const signals = new SignalReader(weights, needs);

  const threads = Math.min(workers, lanes.length);
  await using runner =
    threads > 1 ? new SweepWorkers(lanes, conditions, threads, signal) : new LaneRunner(lanes, conditions, signal);
  const tokens = source.parts.reduce((sum, part) => sum + part.tokens, 0);
  let samples = 0;
  let tokensDone = 0;
  let absentTokens = 0;
  for (const part of source.parts)
    for await (const sample of source.samples(part.index, wanted)) {
      signal?.throwIfAborted();
      const made = await signals.of(sample, signal);
      await runner.sample(needs.hidden ? sample : { ...sample, hidden: undefined }, made);
      samples++;
      tokensDone += sample.length;
      if (passes.as !== "recorded") absentTokens += tokensWithoutLastLayer(sample, shape.expertsUsed);
      options.onProgress?.({ tokensDone, tokens, replays: lanes.length });
    }
  const rows = await runner.rows();
  const notes = simulationNotes(trace, policies, absentTokens);
  return { rows, samples, tokens: tokensDone, notes };
}

/** Lanes on the thread that calls. */
export class LaneRunner implements AsyncDisposable {
  readonly #lanes: readonly Lane[];
  readonly #conditions: LaneConditions;
  readonly #replays: readonly Replay[];
  readonly #signal: AbortSignal | undefined;
  #turnStart = performance.now();

  constructor(lanes: readonly Lane[], conditions: LaneConditions, signal?: AbortSignal) {
    const { trace, machine, passes, start, warmupTokens, futures, maps, predictor } = conditions;
    const resources = { maps, predictor, modelHash: trace.model.hash ?? undefined };
    this.#lanes = lanes;
    this.#conditions = conditions;
    this.#signal = signal;
    this.#replays = lanes.map(
      ({ policy, cacheBytes, future }) =>
        new Replay({
          trace,
          policy: withResources(replayPolicy(policy), resources),
          cacheBytes,
          machine,
          passes,
          start,
          warmupTokens,
          ...(future === undefined ? {} : { future: futures[future] as RecordedFuture }),
        }),
    );
  }

  async sample(sample: TraceSample, signals: SampleSignals): Promise<void> {
    for (const replay of this.#replays) {
      replay.sample(sample, signals);
      if (performance.now() - this.#turnStart < TURN_MS) continue;
      await nextTurn();
      this.#turnStart = performance.now();
      this.#signal?.throwIfAborted();
    }
  }

  async rows(): Promise<SimulationRow[]> {
    const shape = shapeOf(this.#conditions.trace.model);
    return this.#lanes.map(({ policy, cacheBytes }, i) =>
      simulationRow(policy, cacheBytes, shape, this.#replays[i].figures()),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function withResources(policy: ReplayPolicy, resources: PolicyResources): ReplayPolicy {
  return { ...policy, create: (future) => policy.create(future, resources) };
}

/** The run to come depends on the cache only where it makes micro-batches smaller. */
class Futures {
  readonly all: RecordedFuture[] = [];
  readonly #source: TraceSource;
  readonly #passes: PassOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #indices = new Map<number, number>();

  constructor(source: TraceSource, passes: PassOptions, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#passes = passes;
    this.#signal = signal;
  }

  async of(cacheBytes: number): Promise<number> {
    const passes = passesFor(this.#source.description, cacheBytes, this.#passes);
    const known = this.#indices.get(passes.microBatchTokens);
    if (known !== undefined) return known;
    const index = this.all.push(await futureOfTrace(this.#source, passes, this.#signal)) - 1;
    this.#indices.set(passes.microBatchTokens, index);
    return index;
  }
}

function signalsThere({ columns }: TraceDescription, { embeddings, routers }: TracedWeights) {
  const hidden = columns.hiddenWidth > 0;
  return {
    ...{ tokens: columns.tokens, hidden },
    embeddings: embeddings !== undefined,
    nextGate: hidden && routers !== undefined,
  };
}

type Asked = Pick<PolicyNeeds, "probabilities" | "hidden" | "embeddings" | "nextGate">;

/** What any of the policies needs. */
function needsOf(policies: readonly ReplayPolicy[]): Asked {
  const any = (name: keyof Asked) => policies.some(({ needs }) => needs[name]);
  return {
    ...{ probabilities: any("probabilities"), hidden: any("hidden") },
    ...{ embeddings: any("embeddings"), nextGate: any("nextGate") },
  };
}

/** Distributions where they are recorded, else the weights of the chosen; neither when no policy asks for them. */
function wantedColumns({ columns }: TraceDescription, { probabilities, hidden, nextGate }: Asked): WantedColumns {
  return {
    probs: probabilities && columns.probs,
    weights: probabilities && !columns.probs && columns.weights,
    // A policy that copes without the next router's scores may run on a trace that has no inputs of routers.
    hidden: hidden || (nextGate && columns.hiddenWidth > 0),
    tokens: columns.tokens,
  };
}

/** Tokens of a prompt that was recorded without the last layer, which is run for wanted outputs only. */
function tokensWithoutLastLayer({ experts, length }: TraceSample, expertsUsed: number): number {
  if (!experts.includes(NO_ID)) return 0;
  const perToken = experts.length / length;
  let tokens = 0;
  for (let token = 1; token <= length; token++) if (experts[token * perToken - expertsUsed] === NO_ID) tokens++;
  return tokens;
}

function simulationNotes({ columns }: TraceDescription, policies: readonly ReplayPolicy[], absentTokens: number) {
  const namesOf = (needing: keyof Asked) => policies.filter(({ needs }) => needs[needing]).map(({ name }) => name);
  const starved = columns.probs ? [] : namesOf("probabilities");
  const predicting = namesOf("nextGate");
  const instead = columns.weights ? "the weights of the chosen experts alone" : "which experts were chosen alone";
  return [
    ...(starved.length === 0
      ? []
      : [
          `${starved.join(", ")}: the trace has no router probabilities, so it ranks by ${instead}, not as in the engine.`,
        ]),
    ...(predicting.length === 0
      ? []
      : [
          `${predicting.join(", ")}: asking the next layer's router takes time in the engine (predictionMs of a run), which is not counted here.`,
        ]),
    ...(absentTokens === 0
      ? []
      : [
          `${absentTokens} tokens have no choice in the last layer (prompts are computed without it): as decode steps they are too cheap.`,
        ]),
  ];
}
