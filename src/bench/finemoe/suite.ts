/**
 * `warmset bench --suite finemoe`: all policies side by side, simulated always and measured on the engine where that was asked
 * for, judged against the project's goals and the paper. This is where the parts come together; each measures or judges elsewhere.
 */

import { tokenCycleBytes } from "../../cache/shape.ts";
import type { RouterPredictor } from "../../predict/router-predictor.ts";
import { bestBytesPerSecond } from "../../simulate/disk-model.ts";
import type { ChosenMachine, MachineSource } from "../../simulate/profile.ts";
import { shapeOf } from "../../simulate/replay.ts";
import { describeMachine, warmsetVersion } from "../machine.ts";
import { ABLATION_NAMES } from "./ablations.ts";
import { type LiveOptions, type LiveResult, runLive } from "./live.ts";
import { HELD_OUT_SHARE } from "./prompt-split.ts";
import { comparePublished } from "./published.ts";
import type { RequestTrace } from "./request-trace.ts";
import type { AblationResult, FinemoeResult, RealTraceRow } from "./results.ts";
import type { FinemoeRow } from "./row.ts";
import type { ServingFigures } from "./serving.ts";
import { SimulatedSuite } from "./simulated-suite.ts";
import { judgeFinemoe } from "./targets.ts";

export interface FinemoeSuiteOptions {
  /** With the expert sizes of the model that is asked about, see `traceAs`. */
  readonly trace: RequestTrace;
  /** What the trace is called in the result. */
  readonly traceName: string;
  readonly machine: ChosenMachine;
  readonly policies: readonly string[];
  /** For `promoe`, trained on the training prompts of the trace alone (`splitRequests`). @default none */
  readonly predictor?: RouterPredictor | undefined;
  /** Of all experts. */
  readonly cacheShares: readonly number[];
  /** Test prompts of the simulation at most. @default all held-out ones */
  readonly requests?: number | undefined;
  /** Names of ablations, see `ABLATION_NAMES`. @default none */
  readonly ablations?: readonly string[];
  /** Traces of other models, for hits alone. @default none */
  readonly realTraces?: readonly { readonly name: string; readonly trace: RequestTrace }[];
  /** Runs of the engine. @default none */
  readonly live?: LiveOptions | undefined;
  /** Measured rows, ablations and real traces of an earlier result, which stay where this suite makes none. @default none */
  readonly earlier?: FinemoeResult | undefined;
  readonly workers: number;
  readonly command: string;
  readonly notes?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (message: string) => void;
  /** Whenever a part is done, with what there is so far. */
  readonly onResult?: (result: FinemoeResult) => void;
}

export async function runFinemoeSuite(options: FinemoeSuiteOptions): Promise<FinemoeResult> {
  const startedAt = performance.now();
  const { trace, machine, policies, cacheShares, onProgress, signal, live, earlier } = options;
  await using suite = new SimulatedSuite({
    ...{ trace, machine: machine.machine, policies, cacheShares, requests: options.requests },
    ...{ workers: options.workers, signal, predictor: options.predictor },
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  let simulated: readonly FinemoeRow[] = [];
  let measured: LiveResult | undefined;
  let serving: readonly ServingFigures[] = [];
  let ablations: readonly AblationResult[] = [];
  let realTraces: readonly RealTraceRow[] = [];

  const result = (complete: boolean): FinemoeResult => {
    const rows = [...simulated, ...(measured?.rows ?? earlierRows(earlier))];
    const shape = shapeOf(trace.description.model);
    const skipped = [...suite.skipped, ...(measured?.skipped ?? earlierSkipped(earlier))];
    return {
      kind: "finemoe",
      date: new Date().toISOString(),
      complete,
      elapsedMs: Math.round(performance.now() - startedAt),
      configuration: {
        command: options.command,
        warmset: warmsetVersion(),
        machine: describeMachine(),
        model: trace.description.model.name,
        expertBytes: shape.expertBytes,
        expertsUsed: shape.expertsUsed,
        experts: shape.experts,
        tokenCycleBytes: tokenCycleBytes(shape),
        trace: options.traceName,
        trainPrompts: suite.train.length,
        testPrompts: suite.test.length,
        heldOutShare: HELD_OUT_SHARE,
        ...{ cacheShares, policies },
        drive: withoutFolders(machine.disk),
        driveBytesPerSecond: bestBytesPerSecond(machine.machine.disk),
        compute: withoutFolders(machine.compute),
        measured: measured?.conditions ?? earlier?.configuration.measured ?? null,
      },
      rows,
      skipped,
      serving,
      ablations: withEarlier(ablations, earlier),
      realTraces: realTraces.length > 0 ? realTraces : (earlier?.realTraces ?? []),
      published: comparePublished(rows),
      targets: judgeFinemoe(rows, realTraces.length > 0 ? realTraces : (earlier?.realTraces ?? [])),
      notes: [...new Set([...(options.notes ?? []), ...(measured?.notes ?? [])])],
    };
  };

  simulated = await suite.rows();
  options.onResult?.(result(false));
  serving = await suite.serving();
  if (options.realTraces !== undefined) realTraces = await suite.realTraces(options.realTraces);
  for (const name of options.ablations ?? []) {
    ablations = [...ablations, ...(await suite.ablations([name]))];
    options.onResult?.(result(false));
  }
  options.onResult?.(result(live === undefined));
  if (live !== undefined)
    measured = await runLive(suite, options, live, (sofar) => {
      measured = sofar;
      options.onResult?.(result(false));
    });
  return result(true);
}

/** Where a file lies on the machine of whoever ran it does not belong into a result. */
function withoutFolders(source: MachineSource): MachineSource {
  return { ...source, text: source.text.replace(/(?:\/[^\s/]+)+\/([^\s/]+)/g, "$1") };
}

/** An ablation that did not run this time stays. */
function withEarlier(
  ablations: readonly AblationResult[],
  earlier: FinemoeResult | undefined,
): readonly AblationResult[] {
  const others = (earlier?.ablations ?? []).filter(({ id }) => !ablations.some((one) => one.id === id));
  return [...ablations, ...others].sort((a, b) => ABLATION_NAMES.indexOf(a.id) - ABLATION_NAMES.indexOf(b.id));
}

function earlierRows(earlier: FinemoeResult | undefined): readonly FinemoeRow[] {
  return earlier?.rows.filter(({ source }) => source === "measured") ?? [];
}

function earlierSkipped(earlier: FinemoeResult | undefined) {
  return earlier?.skipped.filter(({ source }) => source === "measured") ?? [];
}
