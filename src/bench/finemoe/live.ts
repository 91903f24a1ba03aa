/**
 * The measured side of the comparison: each policy in a process of its own, on the same requests with the same tokens, from a
 * cold page cache, in an order that turns around every round. What policies learned before comes from the simulator, which
 * replays the training prompts in seconds where the engine would take hours.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { HOST_NODE_FLAGS } from "../../engine/model-process.ts";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { policyByName } from "../../policy/by-name.ts";
import { savePredictor } from "../../predict/predictor-file.ts";
import type { TraceSample } from "../../trace/trace.ts";
import { type DeviceFigures, DeviceProber } from "../device-figures.ts";
import { backMemory } from "../measured-run.ts";
import { dropPageCache } from "../page-cache.ts";
import { median } from "../quantile.ts";
import { runBenchChild } from "../run-child.ts";
import { alternatingOrder } from "../suite-plan.ts";
import { type Mode, type RequestFigures, type RunFigures, tpotMs } from "./figures.ts";
import type { LiveJob, LiveRequest, LiveRun, LiveStop } from "./live-protocol.ts";
import { BASELINE, comparedPolicies, isCeiling, isPredictor, problemOf, type SkippedPolicy } from "./policies.ts";
import { promptTokens, takeRequests } from "./prompt-split.ts";
import type { FinemoeConfiguration } from "./results.ts";
import type { FinemoeRow } from "./row.ts";
import type { SimulatedSuite } from "./simulated-suite.ts";
import type { FinemoeSuiteOptions } from "./suite.ts";
import { isMapPolicy, offlineName } from "./taught-policies.ts";
import { widerPredictor, widerStore } from "./wider-model.ts";

export interface LiveOptions {
  /** The inflated model. */
  readonly modelPath: string;
  /** Of all experts. */
  readonly cacheShares: readonly number[];
  /** Names that are run, the references besides. */
  readonly policies: readonly string[];
  readonly modes: readonly Mode[];
  /** Test prompts of a run. */
  readonly requests: number;
  /** Tokens that are forced behind each prompt, at most. */
  readonly decodeTokens: number;
  /** Rounds over all policies; figures are medians over them. */
  readonly runs: number;
  readonly threads: number;
}

export interface LiveResult {
  readonly rows: readonly FinemoeRow[];
  readonly skipped: readonly SkippedPolicy[];
  readonly conditions: NonNullable<FinemoeConfiguration["measured"]>;
  readonly notes: readonly string[];
}

/** Decode steps of a request where whole layers are brought in. */
const WHOLE_LAYER_TOKENS = 4;
/** A run that hangs must not stop a bench of hours. */
const TIMEOUT_MS = 30 * 60_000;

export async function runLive(
  suite: SimulatedSuite,
  options: FinemoeSuiteOptions,
  live: LiveOptions,
  onResult: (result: LiveResult) => void,
): Promise<LiveResult> {
  const bench = new LiveBench(suite, options, live);
  try {
    for (const share of live.cacheShares) await bench.cell(share, () => onResult(bench.result()));
    return bench.result();
  } finally {
    rmSync(bench.folder, { recursive: true });
  }
}

interface Contestant {
  readonly policy: string;
  readonly mode: Mode;
}

class LiveBench {
  readonly #suite: SimulatedSuite;
  readonly #options: FinemoeSuiteOptions;
  readonly #live: LiveOptions;
  readonly #prober: DeviceProber;
  readonly #hiddenSize: number;
  readonly #probes: DeviceFigures[] = [];
  readonly #requests: readonly LiveRequest[];
  readonly #skipped: SkippedPolicy[] = [];
  readonly #notes = new Set<string>();
  /** By cache. */
  readonly #rows = new Map<number, readonly FinemoeRow[]>();
  /** For what a child is given as a file. */
  readonly folder = mkdtempSync(path.join(os.tmpdir(), "warmset-finemoe-"));
  readonly #startedAt = performance.now();
  #stops: readonly LiveStop[] | undefined;
  #predictions: readonly (readonly number[])[] | undefined;
  #pageCache = "";
  #done = 0;

  constructor(suite: SimulatedSuite, options: FinemoeSuiteOptions, live: LiveOptions) {
    this.#suite = suite;
    this.#options = options;
    this.#live = live;
    this.#prober = new DeviceProber(live.modelPath);
    this.#hiddenSize = readMoeLayout(openGguf(live.modelPath)).hiddenSize;
    const withTokens = suite.test.filter(({ tokens }) => tokens !== undefined);
    this.#requests = takeRequests(withTokens, live.requests).map((sample) => liveRequest(sample, live.decodeTokens));
  }

  /** All contestants with one cache; `onRound` is called when figures of a round more are there. */
  async cell(share: number, onRound: () => void): Promise<void> {
    const contestants = this.#contestants();
    const runs = new Map<Contestant, LiveRun[]>(contestants.map((contestant) => [contestant, []]));
    const inAll = this.#live.cacheShares.length * this.#live.runs * contestants.length;
    for (let round = 0; round < this.#live.runs; round++) {
      for (const contestant of this.#order(contestants, round)) {
        const run = await this.#run(contestant, share);
        this.#done++;
        const minutes = ((performance.now() - this.#startedAt) / 60_000).toFixed(1);
        const outcome = run === undefined ? "failed" : `${middleTpot(run.requests).toFixed(0)} ms a token`;
        this.#options.onProgress?.(
          `[live ${this.#done}/${inAll}, ${minutes} min] ${contestant.policy}, ${contestant.mode}, ${Math.round(100 * share)} %: ${outcome}`,
        );
        if (run !== undefined) runs.get(contestant)?.push(run);
      }
      this.#rows.set(share, await this.#rowsOf(share, runs));
      onRound();
    }
  }

  result(): LiveResult {
    const { modelPath, decodeTokens, runs, threads } = this.#live;
    const speeds = this.#probes.map(({ slices }) => slices.bytesPerSecond);
    return {
      rows: [...this.#rows.values()].flat(),
      skipped: [...this.#skipped],
      conditions: {
        modelFile: path.basename(modelPath),
        requests: this.#requests.length,
        decodeTokensPerRequest: decodeTokens,
        ...{ runs, threads, pageCache: this.#pageCache },
        driveBytesPerSecond: speeds.length === 0 ? null : median(speeds),
      },
      notes: [...this.#notes],
    };
  }

  /** A policy that learns nothing runs once, and is the same offline and online. */
  #contestants(): readonly Contestant[] {
    return comparedPolicies(this.#live.policies).flatMap((policy): Contestant[] => {
      if (isCeiling(policy)) return [{ policy, mode: "online" }];
      let learns = false;
      const reason = problemOf(() => {
        learns = policyByName(policy, this.#opening()).learned !== undefined;
      });
      if (reason !== undefined) {
        this.#skip(policy, reason);
        return [];
      }
      if (!learns) return [{ policy, mode: "online" }];
      return this.#live.modes.map((mode) => ({ policy, mode }));
    });
  }

  /** Those who know the future need a run of somebody else's before them. */
  #order(contestants: readonly Contestant[], round: number): readonly Contestant[] {
    const order = alternatingOrder(contestants, round);
    if (this.#stops !== undefined) return order;
    const first = contestants.find(({ policy }) => policy === BASELINE) as Contestant;
    return [first, ...order.filter((one) => one !== first)];
  }

  async #run({ policy, mode }: Contestant, share: number): Promise<LiveRun | undefined> {
    const { signal } = this.#options;
    const { modelPath, threads } = this.#live;
    const learned = mode === "offline" ? await this.#learned(policy) : undefined;
    const record = this.#stops === undefined && policy === BASELINE;
    const job: LiveJob = {
      ...{ modelPath, threads, record },
      policy: mode === "offline" ? offlineName(policy) : policy,
      requests: this.#requestsOf(policy),
      expertBytes: this.#suite.bytesOf(share),
      predictorFile: isPredictor(policy) ? await this.#predictorFile() : undefined,
      learned: learned === undefined ? undefined : Buffer.from(learned).toString("base64"),
      future: isCeiling(policy) ? this.#stops : undefined,
    };
    const drop = dropPageCache(modelPath);
    this.#pageCache = `${drop === "everything" ? "dropped" : "the model's pages dropped"} before each run`;
    backMemory(this.#suite.bytesOf(share));
    const probe = this.#prober.probe();
    if (probe !== undefined) this.#probes.push(probe);
    if (this.#prober.problem !== undefined) this.#notes.add(this.#prober.problem);
    const options = { nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS };
    const outcome = await runBenchChild("./finemoe/live-run.js", job, options);
    if (outcome.status === "failed") {
      this.#skip(policy, `${mode}, ${Math.round(100 * share)} %: ${outcome.reason}`);
      return undefined;
    }
    const run = outcome.result as LiveRun;
    if (record) this.#stops = run.stops;
    this.#compareTokens(policy, run);
    return run;
  }

  /** The tokens were forced, so only a wrong computation makes another prediction. */
  #compareTokens(policy: string, { predictions }: LiveRun): void {
    const first = this.#predictions ?? predictions;
    this.#predictions = first;
    // Some run fewer tokens of each request.
    const same = predictions.every((own, i) => own.every((token, step) => token === first[i][step]));
    if (!same) this.#notes.add(`${policy} computed other tokens than the first policy: a mistake in the engine.`);
  }

  /** Whole layers take ten times as long for every token alike: fewer of them tell as much. */
  #requestsOf(policy: string): readonly LiveRequest[] {
    if (isCeiling(policy) || !policyByName(policy, this.#opening()).needs.wholeLayers) return this.#requests;
    return this.#requests.map((request) => ({
      ...request,
      tokens: request.tokens.slice(0, request.promptTokens + WHOLE_LAYER_TOKENS),
    }));
  }

  /** What was learned on the traced model, for the width of the one that runs. */
  async #learned(policy: string): Promise<Uint8Array | undefined> {
    const learned = await this.#suite.learnedBy(policy);
    const { model, columns } = this.#options.trace.description;
    if (learned === undefined || !isMapPolicy(policy) || columns.hiddenWidth === this.#hiddenSize) return learned;
    const layers = model.moeBlocks.length;
    return widerStore(learned, { layers, experts: model.experts, from: columns.hiddenWidth, to: this.#hiddenSize });
  }

  async #predictorFile(): Promise<string | undefined> {
    const { predictor, trace } = this.#options;
    if (predictor === undefined) return undefined;
    const file = path.join(this.folder, "predictor");
    const wider = widerPredictor(predictor, this.#hiddenSize, trace.description.model.hash ?? "");
    if (!existsSync(file)) await savePredictor(file, wider);
    return file;
  }

  #opening() {
    return { predictor: this.#options.predictor };
  }

  async #rowsOf(share: number, runs: ReadonlyMap<Contestant, readonly LiveRun[]>): Promise<readonly FinemoeRow[]> {
    const figures: RunFigures[] = [];
    for (const [{ policy, mode }, list] of runs) {
      if (list.length === 0) continue;
      const run = this.#figures(policy, mode, share, list);
      const others = run.learns ? [] : this.#live.modes.filter((other) => other !== mode);
      figures.push(run, ...others.map((other) => ({ ...run, mode: other })));
    }
    const rows = this.#live.modes.flatMap((mode) => this.#suite.rowsOfCell(figures.filter((run) => run.mode === mode)));
    return Promise.all(rows.map(async (row) => ({ ...row, ...(await this.#simulated(row)) })));
  }

  /** What the simulator says of the same requests. */
  async #simulated({ policy, mode, cacheShare }: FinemoeRow): Promise<Pick<FinemoeRow, "simulatedTpotMs">> {
    const learned = mode === "offline" && !isCeiling(policy) ? await this.#suite.learnedBy(policy) : undefined;
    const requests = this.#requests.map(({ request }) => request);
    const cacheBytes = this.#suite.bytesOf(cacheShare);
    const run = await this.#suite.simulate({ policy, mode, cacheBytes, requests, learned });
    if (run === undefined) return {};
    const steps = this.#requests.map(({ tokens, promptTokens }) => tokens.length - promptTokens);
    const cut = run.requests.map((request, i) => ({ ...request, stepMs: request.stepMs.slice(0, steps[i]) }));
    return { simulatedTpotMs: middleTpot(cut) };
  }

  /** Times of a request are medians over the rounds, step by step; counts are those of the first round. */
  #figures(policy: string, mode: Mode, share: number, runs: readonly LiveRun[]): RunFigures {
    const [first] = runs;
    const requests = first.requests.map((request, i): RequestFigures => {
      const own = runs.map((run) => run.requests[i]);
      return {
        ...request,
        ttftMs: median(own.map(({ ttftMs }) => ttftMs)),
        stepMs: request.stepMs.map((_, step) => median(own.map(({ stepMs }) => stepMs[step]))),
        computeMs: median(own.map(({ computeMs }) => computeMs)),
        stallMs: median(own.map(({ stallMs }) => stallMs)),
      };
    });
    return {
      ...{ source: "measured", policy, mode, requests, cacheBytes: this.#suite.bytesOf(share) },
      ...{ bytesUnused: first.bytesUnused, mechanisms: first.mechanisms, learns: first.learns },
      driveBytesPerSecond: this.result().conditions.driveBytesPerSecond ?? Number.NaN,
      policyMs: median(runs.map((run) => run.policyMs)),
    };
  }

  #skip(policy: string, reason: string): void {
    if (!this.#skipped.some((one) => one.policy === policy && one.reason === reason))
      this.#skipped.push({ policy, source: "measured", reason });
  }
}

function middleTpot(requests: readonly RequestFigures[]): number {
  return median(requests.map(tpotMs));
}

function liveRequest(sample: TraceSample, decodeTokens: number): LiveRequest {
  const prompt = promptTokens(sample);
  const tokens = [...(sample.tokens ?? [])].slice(0, prompt + decodeTokens);
  return { request: sample.sample, domain: sample.domain, promptTokens: prompt, tokens };
}
