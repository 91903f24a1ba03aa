/**
 * `npm run bench:simulator`: the simulator held against the engine. For each cache size this machine is measured, then
 * tokens of a text are forced through the engine, and what its routers chose is replayed on the machine as measured.
 */
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { calibrate } from "../calibrate/calibrate.ts";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { type DiskModel, DrainCurve } from "../simulate/disk-model.ts";
import { EMPTY_PROFILE, machineFor, withCalibration } from "../simulate/profile.ts";
import type { SimulationRow } from "../simulate/simulation-row.ts";
import { simulate } from "../simulate/sweep.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import { tracedModel } from "../trace/record/traced-model.ts";
import type { TraceDescription, TracedModel, TraceSample } from "../trace/trace.ts";
import { inflatedDemo } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { runBenchChild } from "./run-child.ts";
import { BURST_REQUESTS, type LiveJob, type LiveRun } from "./simulator-protocol.ts";

const HELP = `Usage: npm run bench:simulator -- [options]

  --model FILE      (default: the demo model, inflated to 6.9 GB)
  --shares A,B      of all experts, in percent (default: 25,33,50)
  --policies A,B    without look-ahead (default: lru,next-use)
  --tokens N        counted tokens of a run (default: 48)
  --warmup N        decoded before (default: 12)
  --threads N       threads that compute (default: one per core)
  --out FILE        where the result is kept; rows of other shares in it stay (default: bench/results/simulator.json)
  --json            print the result as JSON
`;
const PROMPT_TOKENS = 8;
const TIMEOUT_MS = 5 * 60_000;
const TEXT = fileURLToPath(new URL("../../models/text/prose.txt", import.meta.url));

/** Times in ms per token. */
interface AccuracyRow {
  readonly cacheShare: number;
  readonly policy: string;
  readonly live: Omit<LiveRun, "sample">;
  readonly predicted: Pick<
    SimulationRow,
    "predictedTokensPerSecond" | "computeMs" | "stallMs" | "managementMs" | "bytesPerToken" | "hits" | "misses"
  >;
  /** Predicted tokens per second over measured ones, less 1, with the drive as fast as it was during the run. */
  readonly error: number;
  /** The same with the drive as it was when the machine was measured, some seconds before. */
  readonly errorAsCalibrated: number;
  /** How long the drive took for the same burst during the run, over how long when it was measured. */
  readonly driveDrift: number;
}

/** What rows of one file have in common. */
interface Conditions {
  readonly model: string;
  readonly threads: number;
  readonly promptTokens: number;
  readonly warmupTokens: number;
  readonly tokens: number;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      shares: { type: "string", default: "25,33,50" },
      policies: { type: "string", default: "lru,next-use" },
      tokens: { type: "string", default: "48" },
      warmup: { type: "string", default: "12" },
      threads: { type: "string" },
      out: { type: "string", default: resultFile("simulator") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const modelPath = values.model ?? (await inflatedDemo(signal));
  const threads =
    values.threads === undefined ? os.availableParallelism() : wholeNumber("--threads", values.threads, 1);
  const warmupTokens = wholeNumber("--warmup", values.warmup);
  const tokens = wholeNumber("--tokens", values.tokens, 1);
  const conditions = { model: path.basename(modelPath), threads, promptTokens: PROMPT_TOKENS, warmupTokens, tokens };
  const { expertBytesTotal } = readMoeLayout(openGguf(modelPath));
  let rows = olderRows(values.out, conditions);
  for (const share of values.shares.split(",").map((text) => wholeNumber("--shares", text, 1) / 100)) {
    progress(`measuring the machine for a cache of ${100 * share} %`);
    const calibration = await calibrate({ modelPath, threads, folder: path.dirname(values.out), signal });
    const model: TracedModel = { ...tracedModel(modelPath), scoring: null };
    const { machine } = machineFor(model, withCalibration(EMPTY_PROFILE, calibration));
    for (const policy of values.policies.split(",")) {
      progress(`${policy} with ${100 * share} % of the experts`);
      const expertBytes = Math.floor(share * expertBytesTotal);
      const { model: _, ...lengths } = conditions;
      const live = await liveRun({ ...lengths, modelPath, policy, expertBytes, textFile: TEXT }, signal);
      const sample = sampleOf(live);
      // A shared drive changes its speed from second to second, which no model of it can know.
      const driveDrift = live.burstMs / new DrainCurve(machine.disk).ms(BURST_REQUESTS);
      const trace = memoryTrace(describe(model, sample), [sample]);
      const predict = async (drift: number) => {
        const passes = { as: "recorded" } as const;
        const on = { ...machine, disk: slowed(machine.disk, drift) };
        const options = { policies: [policy], cacheBytes: [live.cacheBytes], machine: on, passes, warmupTokens };
        return (await simulate(trace, options)).rows[0];
      };
      const asCalibrated = await predict(1);
      const row = accuracyRow(share, policy, live, await predict(driveDrift), asCalibrated, driveDrift);
      rows = [...rows.filter((old) => old.cacheShare !== share || old.policy !== policy), row];
      keepResult(values.out, result(conditions, rows));
    }
  }
  process.stdout.write(values.json ? `${JSON.stringify(result(conditions, rows))}\n` : `${table(rows)}\n`);
});

function result(conditions: Conditions, rows: readonly AccuracyRow[]) {
  const sorted = rows.toSorted((a, b) => a.cacheShare - b.cacheShare || (a.policy < b.policy ? -1 : 1));
  return { kind: "simulator", date: new Date().toISOString(), machine: describeMachine(), conditions, rows: sorted };
}

/** Rows of an earlier run, so that cache sizes can be measured one by one. @throws RangeError for other conditions */
function olderRows(file: string, conditions: Conditions): readonly AccuracyRow[] {
  if (!existsSync(file)) return [];
  const older = JSON.parse(readFileSync(file, "utf8")) as ReturnType<typeof result>;
  if (JSON.stringify(older.conditions) !== JSON.stringify(conditions))
    throw new RangeError(`${file} was measured in another way; name another file with --out, or remove it.`);
  return older.rows;
}

async function liveRun(job: LiveJob, signal: AbortSignal): Promise<LiveRun> {
  const options = { nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS };
  const outcome = await runBenchChild("./simulator-run.js", job, options);
  if (outcome.status === "failed") throw new Error(outcome.reason);
  return outcome.result as LiveRun;
}

function sampleOf({ sample }: LiveRun): TraceSample {
  return {
    ...{ sample: 0, domain: "text", length: sample.length },
    phases: Uint8Array.from(sample.phases),
    batches: Uint32Array.from(sample.batches),
    experts: Uint16Array.from(sample.experts),
    probs: Float32Array.from(sample.probs),
    ...{ weights: undefined, hidden: undefined, tokens: undefined, predicted: undefined, loss: undefined },
  };
}

function describe(model: TracedModel, { length }: TraceSample): TraceDescription {
  return {
    ...{ format: "warmset-trace", schemaVersion: 1, model },
    recording: {
      recorder: `warmset ${warmsetVersion()}`,
      date: new Date().toISOString(),
      ...{ tokensFrom: ["forced"], sampleLength: length, start: null, notes: [] },
    },
    columns: { weights: false, probs: true, hiddenWidth: 0, tokens: false, predictions: false },
  };
}

function slowed(disk: DiskModel, factor: number): DiskModel {
  return { ...disk, bursts: disk.bursts.map(({ requests, ms }) => ({ requests, ms: ms * factor })) };
}

function accuracyRow(
  cacheShare: number,
  policy: string,
  { sample: _, ...live }: LiveRun,
  predicted: SimulationRow,
  asCalibrated: SimulationRow,
  driveDrift: number,
): AccuracyRow {
  const { predictedTokensPerSecond, computeMs, stallMs, managementMs, bytesPerToken, hits, misses } = predicted;
  const error = (row: SimulationRow) => (row.predictedTokensPerSecond ?? 0) / live.tokensPerSecond - 1;
  return {
    ...{ cacheShare, policy, live },
    predicted: { predictedTokensPerSecond, computeMs, stallMs, managementMs, bytesPerToken, hits, misses },
    ...{ error: error(predicted), errorAsCalibrated: error(asCalibrated), driveDrift },
  };
}

function table(rows: readonly AccuracyRow[]): string {
  const number = (value: number | null, digits = 1) => (value === null ? "-" : value.toFixed(digits));
  const both = (live: number, predicted: number | null, digits = 1) =>
    `${number(predicted, digits)} / ${number(live, digits)}`;
  return textTable(
    [
      "predicted / measured",
      "tokens/s",
      "error",
      "hit rate",
      "computing ms",
      "waiting ms",
      "managing ms",
      "drive took",
    ],
    rows.map(({ cacheShare, policy, live, predicted, error, errorAsCalibrated, driveDrift }) => [
      `${policy}, ${100 * cacheShare} %`,
      both(live.tokensPerSecond, predicted.predictedTokensPerSecond, 2),
      `${(100 * error).toFixed(1)} %`,
      number(live.hitRate, 3),
      both(live.computeMs, predicted.computeMs),
      both(live.stallMs, predicted.stallMs),
      both(live.managementMs, predicted.managementMs),
      `x ${driveDrift.toFixed(2)}`,
      `${(100 * errorAsCalibrated).toFixed(1)} %`,
    ]),
  );
}
