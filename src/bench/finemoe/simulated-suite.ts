/**
 * The simulated side of the comparison: every policy with every cache, offline and online, then serving, ablations and the traces
 * of real models. It plans runs, hands them to worker threads and makes rows of them; nothing here replays or judges.
 */

import type { RouterPredictor } from "../../predict/router-predictor.ts";
import { plainDisk } from "../../simulate/disk-model.ts";
import type { MachineModel } from "../../simulate/machine-model.ts";
import { shapeOf } from "../../simulate/replay.ts";
import type { TraceSample } from "../../trace/trace.ts";
import { ONLINE_SERVING } from "../../workload/arrivals.ts";
import { ABLATED, type Ablation, type AblationPoint, ablations } from "./ablations.ts";
import { decodeCounters, type Mode, type RunFigures } from "./figures.ts";
import { BASELINE, comparedPolicies, FLOOR, isCeiling, replayProblem, type SkippedPolicy } from "./policies.ts";
import { mixedOrder, type PromptSplit, splitByPrompt, takeRequests } from "./prompt-split.ts";
import type { RequestTrace } from "./request-trace.ts";
import type { AblationResult, RealTraceRow } from "./results.ts";
import { type FinemoeRow, rowOf } from "./row.ts";
import { RunWorkers } from "./run-workers.ts";
import { rateForLoad, type ServingFigures, serve } from "./serving.ts";
import type { SimulatedRun } from "./simulated-run.ts";
import { teachingName } from "./taught-policies.ts";

export interface SimulatedSuiteOptions {
  readonly trace: RequestTrace;
  readonly machine: MachineModel;
  readonly policies: readonly string[];
  /** For `promoe`, trained on the training prompts alone. @default none, and `promoe` is told as not run */
  readonly predictor?: RouterPredictor | undefined;
  readonly cacheShares: readonly number[];
  /** Test prompts at most, and requests that are served. @default all held-out ones, and 256 */
  readonly requests?: number | undefined;
  readonly workers: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (message: string) => void;
}

/** Where serving and ablations are looked at, and what policies learn with: the middle of the paper's range. */
export const MIDDLE_SHARE = 0.25;
/** Ablations have many points; their prompts are as many as give stable medians. */
const ABLATION_REQUESTS = 26;
/** A load at which a queue forms and empties again; the paper's rate drowns a machine that reads from a drive. */
const SERVING_LOAD = 0.7;

/** No prompt to learn from, or none to be tested on, is left of so few. */
export class TooFewRequestsError extends Error {
  override readonly name = "TooFewRequestsError";
  readonly requests: number;

  constructor(requests: number) {
    super(
      `A trace of ${requests} requests that were decoded leaves none to learn from or none to be tested on. ` +
        "Record more prompts, with --decode.",
    );
    this.requests = requests;
  }
}

export class SimulatedSuite implements AsyncDisposable {
  readonly train: readonly TraceSample[];
  readonly test: readonly TraceSample[];
  readonly skipped: SkippedPolicy[] = [];
  readonly #options: SimulatedSuiteOptions;
  readonly #workers: RunWorkers;
  readonly #expertBytesTotal: number;
  readonly #learned = new Map<string, Promise<Uint8Array | undefined>>();
  #done = 0;
  #planned = 0;

  constructor(options: SimulatedSuiteOptions) {
    const { trace, workers, signal } = options;
    this.#options = options;
    const shape = shapeOf(trace.description.model);
    this.#expertBytesTotal = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
    const split = splitRequests(trace);
    this.train = split.train;
    this.test = takeRequests(split.test, options.requests ?? split.test.length);
    if (this.test.length === 0 || this.train.length === 0) throw new TooFewRequestsError(trace.samples.length);
    this.#workers = new RunWorkers({ trace, predictor: options.predictor }, workers, signal);
  }

  /** Policies that can run, the references among them. The others are in `skipped`. */
  replayable(names: readonly string[]): readonly string[] {
    return comparedPolicies(names).filter((policy) => {
      const reason = this.#problem(policy);
      if (reason !== undefined) this.#skip(policy, reason);
      return reason === undefined;
    });
  }

  /** Every policy with every cache, offline and online. */
  async rows(): Promise<readonly FinemoeRow[]> {
    const { cacheShares } = this.#options;
    const policies = this.replayable(this.#options.policies);
    const runs = (
      await Promise.all(
        policies.flatMap((policy) => cacheShares.map((share) => this.#bothModes(policy, this.bytesOf(share)))),
      )
    ).flat();
    return cacheShares.flatMap((share) =>
      (["offline", "online"] as const).flatMap((mode) => {
        const cell = runs.filter((run) => run.mode === mode && run.cacheBytes === this.bytesOf(share));
        return this.rowsOfCell(cell);
      }),
    );
  }

  rowsOfCell(runs: readonly RunFigures[]): FinemoeRow[] {
    const of = (policy: string) => runs.find((run) => run.policy === policy);
    const references = { expertBytesTotal: this.#expertBytesTotal, floor: of(FLOOR), lru: of(BASELINE) };
    return runs.map((run) => rowOf(run, references));
  }

  /** Requests that arrive while others are served, all policies with an empty store. */
  async serving(): Promise<readonly ServingFigures[]> {
    const { trace, requests: most = ONLINE_SERVING.requests } = this.#options;
    const requests = mixedOrder(trace.samples.filter(hasDecodeSteps))
      .slice(0, Math.min(most, ONLINE_SERVING.requests))
      .map(numberOf);
    const runs = await Promise.all(
      this.#runnable(this.#options.policies).map((policy) =>
        this.#run({ ...this.#base(policy, "online", this.bytesOf(MIDDLE_SHARE)), requests }),
      ),
    );
    const finished = runs.filter((run) => run !== undefined);
    const lru = finished.find(({ policy }) => policy === BASELINE);
    if (lru === undefined) return [];
    const rates = [ONLINE_SERVING.perSecond, rateForLoad(lru, SERVING_LOAD)];
    return rates.flatMap((rate) => finished.map((run) => serve(run, rate)));
  }

  /** Those of these names. */
  async ablations(names: readonly string[]): Promise<readonly AblationResult[]> {
    const results: AblationResult[] = [];
    const compared = this.#runnable(ABLATED).filter((policy) => ABLATED.includes(policy));
    for (const ablation of ablations(compared).filter(({ id }) => names.includes(id)))
      results.push(await this.#ablation(ablation));
    return results;
  }

  /** Of the traces' decode steps: one recorded run each, so every policy starts with nothing. */
  async realTraces(
    traces: readonly { readonly name: string; readonly trace: RequestTrace }[],
  ): Promise<RealTraceRow[]> {
    const { machine, signal, cacheShares } = this.#options;
    const rows: RealTraceRow[] = [];
    for (const { name, trace } of traces) {
      const shape = shapeOf(trace.description.model);
      const total = shape.expertBytes.reduce((sum, bytes) => sum + bytes * shape.experts, 0);
      await using workers = new RunWorkers({ trace, predictor: undefined }, this.#options.workers, signal);
      const requests = trace.samples.filter(hasDecodeSteps).map(numberOf);
      const policies = comparedPolicies([...this.#options.policies, "lfu-per-layer"]).filter((policy) => {
        const reason = this.#problem(policy, trace);
        if (reason !== undefined) this.#skip(policy, `${name}: ${reason}`);
        return reason === undefined;
      });
      const replies = await Promise.all(
        cacheShares.flatMap((cacheShare) =>
          policies.map(async (policy) => {
            const cacheBytes = Math.floor(cacheShare * total);
            const run: SimulatedRun = {
              ...{ policy, cacheBytes, requests, mode: "online" },
              machine: { ...machine, compute: scaledTo(machine, shape.layers) },
            };
            const reply = await workers.do({ type: "run", run });
            this.#options.onProgress?.(`${name}: ${policy} with ${Math.round(100 * cacheShare)} %`);
            return { cacheShare, policy, reply };
          }),
        ),
      );
      for (const { cacheShare, policy, reply } of replies) {
        if (reply.type === "failed") this.#skip(policy, `${name}: ${reply.reason}`);
        if (reply.type !== "run") continue;
        const decode = decodeCounters(reply.figures.requests);
        const tokens = reply.figures.requests.reduce((sum, request) => sum + request.decodeTokens, 0);
        const lookUps = decode.hits + decode.lateHits + decode.misses;
        rows.push({
          ...{ trace: name, policy, cacheShare, hitRate: decode.hits / lookUps },
          bytesPerToken: (decode.bytesDemanded + decode.bytesPrefetched) / tokens,
        });
      }
    }
    return rows;
  }

  /** What the policy learned from the training prompts; undefined when it learns nothing. */
  learnedBy(name: string): Promise<Uint8Array | undefined> {
    const policy = teachingName(name);
    const known = this.#learned.get(policy);
    if (known !== undefined) return known;
    const learning = this.#teach(policy);
    this.#learned.set(policy, learning);
    return learning;
  }

  bytesOf(share: number): number {
    return Math.floor(share * this.#expertBytesTotal);
  }

  /** One run with everything said; undefined when it failed, which `skipped` then tells. */
  async simulate(run: Partial<SimulatedRun> & Pick<SimulatedRun, "policy" | "mode" | "cacheBytes">) {
    return this.#run({ ...this.#base(run.policy, run.mode, run.cacheBytes), ...run });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#workers[Symbol.asyncDispose]();
  }

  async #bothModes(policy: string, cacheBytes: number): Promise<readonly RunFigures[]> {
    const online = await this.#run(this.#base(policy, "online", cacheBytes));
    if (online === undefined) return [];
    if (!online.learns) return [{ ...online, mode: "offline" }, online];
    const learned = await this.learnedBy(policy);
    const offline = await this.#run({ ...this.#base(policy, "offline", cacheBytes), learned });
    return offline === undefined ? [online] : [offline, online];
  }

  async #ablation({ id, title, figure, points }: Ablation): Promise<AblationResult> {
    const requests = takeRequests(this.test, ABLATION_REQUESTS).map(numberOf);
    const cacheBytes = this.bytesOf(MIDDLE_SHARE);
    const under = (point: Partial<AblationPoint>, policy: string): SimulatedRun => ({
      ...this.#base(policy, "offline", cacheBytes),
      ...{ requests, machine: this.#machineOf(point), batch: point.batch ?? 1 },
    });
    // What rows are read against, once for each batch and link.
    const conditions = new Map(points.map((point) => [`${point.batch} ${point.linkBytesPerSecond}`, point]));
    const references = new Map(
      await Promise.all(
        [...conditions].map(async ([name, point]) => {
          const [floor, lru] = await Promise.all([FLOOR, BASELINE].map((policy) => this.#run(under(point, policy))));
          return [name, { expertBytesTotal: this.#expertBytesTotal, floor, lru }] as const;
        }),
      ),
    );
    const rows = await Promise.all(
      points.map(async (point) => {
        const reason = this.#problem(point.policy);
        if (reason !== undefined) return this.#skip(point.policy, reason);
        const learned = isCeiling(point.policy) ? undefined : await this.learnedBy(point.policy);
        const run = await this.#run({ ...under(point, point.policy), learned });
        const reference = references.get(`${point.batch} ${point.linkBytesPerSecond}`);
        if (run === undefined || reference === undefined) return undefined;
        return { label: point.label, at: point.at ?? null, row: rowOf(run, reference) };
      }),
    );
    return {
      ...{ id, title, figure, mode: "offline", cacheShare: MIDDLE_SHARE },
      rows: rows.filter((row) => row !== undefined),
    };
  }

  #machineOf({ linkBytesPerSecond }: Partial<AblationPoint>): MachineModel {
    const { machine } = this.#options;
    if (linkBytesPerSecond === undefined) return machine;
    return { ...machine, disk: plainDisk({ bytesPerSecond: linkBytesPerSecond }) };
  }

  async #teach(policy: string): Promise<Uint8Array | undefined> {
    const { mode: _, ...run } = this.#base(policy, "offline", this.bytesOf(MIDDLE_SHARE));
    const reply = await this.#workers.do({ type: "teach", run: { ...run, requests: this.train.map(numberOf) } });
    if (reply.type === "teach") return reply.taught.learned;
    if (reply.type === "failed") this.#skip(policy, `learning from other prompts: ${reply.reason}`);
    return undefined;
  }

  #base(policy: string, mode: Mode, cacheBytes: number): SimulatedRun {
    return { policy, mode, cacheBytes, machine: this.#options.machine, requests: this.test.map(numberOf) };
  }

  async #run(run: SimulatedRun): Promise<RunFigures | undefined> {
    this.#planned++;
    const reply = await this.#workers.do({ type: "run", run });
    this.#done++;
    const share = Math.round((100 * run.cacheBytes) / this.#expertBytesTotal);
    this.#options.onProgress?.(`[${this.#done}/${this.#planned}] ${run.policy}, ${run.mode}, ${share} %`);
    if (reply.type === "run") return reply.figures;
    if (reply.type === "failed") this.#skip(run.policy, `${share} %: ${reply.reason}`);
    return undefined;
  }

  #problem(policy: string, { there }: RequestTrace = this.#options.trace): string | undefined {
    return replayProblem(policy, there, { predictor: this.#options.predictor });
  }

  /** The compared policies that can run, without telling of the others again. */
  #runnable(names: readonly string[]): readonly string[] {
    return comparedPolicies(names).filter((policy) => this.#problem(policy) === undefined);
  }

  #skip(policy: string, reason: string): undefined {
    if (!this.skipped.some((one) => one.policy === policy && one.reason === reason))
      this.skipped.push({ policy, source: "simulated", reason });
    return undefined;
  }
}

/** Which prompts are learned from, and which are tested: the same whoever asks. */
export function splitRequests({ samples }: Pick<RequestTrace, "samples">): PromptSplit {
  return splitByPrompt(mixedOrder(samples.filter(hasDecodeSteps)));
}

/** Only hits are looked at: any computing will do, as long as there is one for each layer. */
function scaledTo({ compute }: MachineModel, layers: number): MachineModel["compute"] {
  return { ...compute, layers: Array.from({ length: layers }, (_, i) => compute.layers[i % compute.layers.length]) };
}

function numberOf({ sample }: TraceSample): number {
  return sample;
}

function hasDecodeSteps({ phases, length, batches }: TraceSample): boolean {
  return phases.includes(1) || (length > 1 && batches[0] !== batches[length - 1]);
}
