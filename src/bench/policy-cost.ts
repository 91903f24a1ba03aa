/**
 * What the bookkeeping of a policy and of the cache that asks it costs, apart from reading and computing: the cache is driven
 * stop by stop as the engine drives it, with reads that are over at once. The time of a stop is what the model's thread
 * would stand still for; what a stop leaves on the heap is what the garbage collector will one day stop it for.
 */
import { ExpertCache } from "../cache/expert-cache.ts";
import type { LoadKind, Policy } from "../cache/policy.ts";
import { type ExpertKey, expertKey } from "../cache/shape.ts";
import { totalCounters } from "../cache/statistics.ts";
import { policyByName } from "../policy/by-name.ts";
import { type GeneratedRouting, generateRouting, RAISED_BY, readingPredictor } from "./policy-cost-routing.ts";
import { median, quantile } from "./quantile.ts";
import { threadCpuClock } from "./thread-cpu-time.ts";

export interface CostShape {
  readonly name: string;
  readonly layers: number;
  readonly experts: number;
  readonly expertsUsed: number;
  readonly hiddenSize: number;
}

export const COST_SHAPES: readonly CostShape[] = [
  { name: "demo", layers: 8, experts: 32, expertsUsed: 4, hiddenSize: 256 },
  { name: "OLMoE", layers: 16, experts: 64, expertsUsed: 8, hiddenSize: 2048 },
  { name: "Qwen3-30B-A3B", layers: 48, experts: 128, expertsUsed: 8, hiddenSize: 2048 },
];

export interface CostJob {
  readonly policy: string;
  readonly shape: CostShape;
  /** Router stops that are timed, and as many again for what they allocate. */
  readonly stops: number;
  /** Stops before, in which V8 learns to run them. */
  readonly warmupStops: number;
  /** Of all experts, what the cache holds. */
  readonly share: number;
  /** Between two timed stops, as if a layer was computed: what runs in another thread gets on meanwhile. */
  readonly pauseMs: number;
}

/** CPU time of the thread in us, without that of asking for it: other work on the machine does not count. */
export interface Spread {
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
}

export interface PolicyCost {
  readonly policy: string;
  readonly shape: string;
  readonly stops: number;
  readonly stopUs: Spread;
  /** All stops of a token and what begins it. */
  readonly tokenUs: Spread;
  /** Left on the heap by a stop, bytes. */
  readonly bytesPerStop: number;
  readonly hitRate: number;
  /** Experts read ahead for a token. */
  readonly readsAhead: number;
}

/** Tokens of a request. */
const REQUEST_TOKENS = 100;
/** Experts that fit into the time between two stops. */
const SPARE_EXPERTS = 2;
const EXPERT_BYTES = 3 << 20;
/** Tokens come this often, by the clock that policies see. */
const TOKEN_MS = 100;
/** A collection takes away what was put there, a compilation adds code of its own: of so many parts a few have one. */
const HEAP_PARTS = 10;
const CLOCK_READINGS = 5000;

export function measurePolicyCost(job: CostJob): PolicyCost {
  const { policy, shape, stops, warmupStops, pauseMs } = job;
  const { layers } = shape;
  const [warmup, counted] = [warmupStops, stops].map((count) => Math.ceil(count / layers));
  const full = { ...shape, expertBytes: new Array<number>(layers).fill(EXPERT_BYTES) };
  const routing = generateRouting(full, warmup + 2 * counted);
  const made = policyByName(policy, { predictor: readingPredictor(full), modelHash: "" });
  const drive = new CacheDrive(made, routing, Math.floor(job.share * layers * shape.experts) * EXPERT_BYTES);
  for (let token = 0; token < warmup; token++) drive.token(token);
  const before = totalCounters(drive.cache.statistics());

  const clock = threadCpuClock();
  const clockMs = costOf(clock);
  const stopUs = new Float64Array(counted * layers);
  const tokenUs = new Float64Array(counted);
  for (let token = 0; token < counted; token++) {
    let at = clock();
    drive.begin(warmup + token);
    let sum = clock() - at - clockMs;
    for (let layer = 0; layer < layers; layer++) {
      drive.prepare(warmup + token, layer);
      at = clock();
      drive.stop();
      const ms = Math.max(0, clock() - at - clockMs);
      stopUs[token * layers + layer] = 1000 * ms;
      sum += ms;
      if (pauseMs > 0) Atomics.wait(SLEEP, 0, 0, pauseMs);
    }
    tokenUs[token] = 1000 * sum;
  }
  const after = totalCounters(drive.cache.statistics());
  const [hits, misses, ahead] = (["hits", "misses", "prefetchesIssued"] as const).map((n) => after[n] - before[n]);

  const bytesPerStop = allocatedByToken(drive, warmup + counted, counted) / layers;
  drive.cache.close();
  return {
    ...{ policy, shape: shape.name, stops: stopUs.length },
    ...{ stopUs: spread(stopUs), tokenUs: spread(tokenUs) },
    bytesPerStop,
    ...{ hitRate: hits / (hits + misses), readsAhead: ahead / counted },
  };
}

/** What an interval of no work takes by the clock, ms. */
function costOf(clock: () => number): number {
  return median(Array.from({ length: CLOCK_READINGS }, () => -(clock() - clock())));
}

/** Bytes that a token puts on the heap: exact where nothing is collected or compiled meanwhile, so the median of parts is. */
function allocatedByToken(drive: CacheDrive, first: number, tokens: number): number {
  const parts = Math.min(HEAP_PARTS, tokens);
  return median(
    Array.from({ length: parts }, (_, part) => {
      const from = first + Math.floor((part * tokens) / parts);
      const to = first + Math.floor(((part + 1) * tokens) / parts);
      const before = process.memoryUsage().heapUsed;
      for (let token = from; token < to; token++) drive.token(token);
      return Math.max(0, process.memoryUsage().heapUsed - before) / (to - from);
    }),
  );
}

/** A cache over a policy, and the events of a generated text. Allocates nothing itself. */
class CacheDrive {
  readonly cache: ExpertCache;
  readonly #policy: Policy;
  readonly #routing: GeneratedRouting;
  readonly #start;
  readonly #event;
  readonly #nextGate: Float32Array;
  readonly #demanded: Int32Array;
  #demandedCount = 0;
  readonly #ahead: Int32Array;
  #aheadCount = 0;

  constructor(policy: Policy, routing: GeneratedRouting, budgetBytes: number) {
    const { shape } = routing;
    const { experts, expertsUsed, hiddenSize } = shape;
    const { needs } = policy;
    this.#policy = policy;
    this.#routing = routing;
    this.#demanded = new Int32Array(experts);
    this.#ahead = new Int32Array(shape.layers * experts);
    this.#start = {
      ...{ phase: "decode" as const, iteration: 0, request: 0, nowMs: 0, tokens: 1 },
      tokenIds: new Int32Array(1),
      embeddings: needs.embeddings ? new Float32Array(hiddenSize) : undefined,
    };
    this.#event = {
      ...{ layer: 0, nowMs: 0, tokens: 1, expertsUsed, distinctCount: 0 },
      experts: new Int32Array(expertsUsed),
      weights: new Float32Array(expertsUsed),
      distinct: new Int32Array(experts),
      probabilities: needs.probabilities ? new Float32Array(experts) : undefined,
      nextGate: undefined as Float32Array | undefined,
      hidden: needs.hidden ? new Float32Array(hiddenSize) : undefined,
    };
    this.#nextGate = new Float32Array(experts);
    this.cache = new ExpertCache(shape, budgetBytes, policy, {
      evict() {},
      load: (key, kind) => this.#load(key, kind),
    });
  }

  /** A whole token, untimed. */
  token(token: number): void {
    this.begin(token);
    for (let layer = 0; layer < this.#routing.shape.layers; layer++) {
      this.prepare(token, layer);
      this.stop();
    }
  }

  begin(token: number): void {
    const start = this.#start;
    const { tokenIds, embeddings, shape } = this.#routing;
    const id = tokenIds[token];
    start.iteration = token;
    start.request = Math.floor(token / REQUEST_TOKENS);
    start.nowMs = token * TOKEN_MS;
    start.tokenIds[0] = id;
    if (start.embeddings !== undefined)
      for (let i = 0; i < shape.hiddenSize; i++) start.embeddings[i] = embeddings[id * shape.hiddenSize + i];
    this.cache.iteration(start);
    if (this.#policy.prefetchesAtStart === true) this.cache.speculate(SPARE_EXPERTS * EXPERT_BYTES);
  }

  /** The event of the next stop. */
  prepare(token: number, layer: number): void {
    const { shape, probabilities, nextGate, experts: chosen } = this.#routing;
    const { layers, experts, expertsUsed } = shape;
    const { needs } = this.#policy;
    const event = this.#event;
    const row = (token * layers + layer) * experts;
    event.layer = layer;
    event.nowMs = (token + (layer + 1) / (layers + 1)) * TOKEN_MS;
    event.distinctCount = expertsUsed;
    let sum = 0;
    for (let rank = 0; rank < expertsUsed; rank++) {
      const expert = chosen[(token * layers + layer) * expertsUsed + rank];
      event.experts[rank] = expert;
      event.distinct[rank] = expertKey(shape, layer, expert);
      event.weights[rank] = probabilities[row + expert];
      sum += event.weights[rank];
    }
    for (let rank = 0; rank < expertsUsed; rank++) event.weights[rank] /= sum;
    if (needs.wholeLayers) this.#addOthers(layer);
    event.nextGate = needs.nextGate && layer + 1 < layers ? this.#nextGate : undefined;
    for (let expert = 0; expert < experts; expert++) {
      if (event.probabilities !== undefined) event.probabilities[expert] = probabilities[row + expert];
      this.#nextGate[expert] = nextGate[row + expert];
      if (event.hidden !== undefined && expert < shape.hiddenSize)
        event.hidden[expert] = RAISED_BY + nextGate[row + expert];
    }
  }

  /** What the engine does at a stop, with reads that are over as soon as somebody looks. */
  stop(): void {
    const { cache } = this;
    for (let i = 0; i < this.#aheadCount; i++) cache.completed(this.#ahead[i] as ExpertKey);
    this.#aheadCount = 0;
    cache.routed(this.#event);
    const pauses = this.#policy.pausesForDemand === true;
    if (!pauses) cache.speculate(SPARE_EXPERTS * EXPERT_BYTES);
    for (let i = 0; i < this.#demandedCount; i++) cache.completed(this.#demanded[i] as ExpertKey);
    this.#demandedCount = 0;
    if (pauses) cache.speculate(SPARE_EXPERTS * EXPERT_BYTES);
  }

  #load(key: ExpertKey, kind: LoadKind): void {
    if (kind === "demand") this.#demanded[this.#demandedCount++] = key;
    else this.#ahead[this.#aheadCount++] = key;
  }

  #addOthers(layer: number): void {
    const { shape } = this.#routing;
    const event = this.#event;
    for (let expert = 0; expert < shape.experts; expert++)
      if (!event.experts.includes(expert)) event.distinct[event.distinctCount++] = expertKey(shape, layer, expert);
  }
}

function spread(values: Float64Array): Spread {
  const all = Array.from(values);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  return { mean, p50: quantile(all, 0.5), p99: quantile(all, 0.99) };
}

const SLEEP = new Int32Array(new SharedArrayBuffer(4));
