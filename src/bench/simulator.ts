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
import { bestBytesPerSecond } from "../simulate/disk-model.ts";
import type { MachineModel } from "../simulate/machine-model.ts";
import { EMPTY_PROFILE, machineFor, withCalibration } from "../simulate/profile.ts";
import type { SimulationRow } from "../simulate/simulation-row.ts";
import { simulate } from "../simulate/sweep.ts";
import { memoryTrace } from "../trace/memory-trace.ts";
import { tracedModel } from "../trace/record/traced-model.ts";
import type { TraceDescription, TracedModel, TraceSample } from "../trace/trace.ts";
import { inflatedDemo } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { median } from "./quantile.ts";
import { runBenchChild } from "./run-child.ts";
import type { LiveJob, LiveRun } from "./simulator-protocol.ts";

const HELP = `Usage: npm run bench:simulator -- [options]

  --model FILE      (default: the demo model, inflated to 6.9 GB)
  --shares A,B      of all experts, in percent (default: 25,33,50)
  --policies A,B    without look-ahead (default: lru,next-use)
  --rounds N        of measuring the machine and running (default: 3)
  --tokens N        counted tokens of a run (default: 48)
  --warmup N        decoded before (default: 12)
  --threads N       threads that compute (default: one per core)
  --out FILE        where the result is kept; rounds that are in it stay (default: bench/results/simulator.json)
  --json            print the result as JSON
`;
const PROMPT_TOKENS = 8;
const TIMEOUT_MS = 5 * 60_000;
const TEXT = fileURLToPath(new URL("../../models/text/prose.txt", import.meta.url));

/** One live run and what was predicted of it, from figures measured just before. Times in ms per token. */
interface Round {
  readonly date: string;
  readonly driveBytesPerSecond: number;
  readonly live: Omit<LiveRun, "sample">;
  readonly predicted: Pick<
    SimulationRow,
    "predictedTokensPerSecond" | "computeMs" | "stallMs" | "managementMs" | "bytesPerToken" | "hits" | "misses"
  >;
}

interface AccuracyRow {
  readonly cacheShare: number;
  readonly policy: string;
  /** Medians over the rounds. */
  readonly measuredTokensPerSecond: number;
  readonly predictedTokensPerSecond: number;
  /** Predicted over measured, less 1. */
  readonly error: number;
  readonly rounds: readonly Round[];
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
      rounds: { type: "string", default: "3" },
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
  const shares = values.shares.split(",").map((text) => wholeNumber("--shares", text, 1) / 100);
  const rounds = wholeNumber("--rounds", values.rounds, 1);
  const model: TracedModel = { ...tracedModel(modelPath), scoring: null };
  let rows = olderRows(values.out, conditions);
  // A shared drive changes its speed from minute to minute: each round measures it again.
  for (let round = 1; round <= rounds; round++)
    for (const share of shares) {
      progress(`round ${round} of ${rounds}: measuring the machine`);
      const calibration = await calibrate({ modelPath, threads, folder: path.dirname(values.out), signal });
      const { machine } = machineFor(model, withCalibration(EMPTY_PROFILE, calibration));
      for (const policy of values.policies.split(",")) {
        progress(`round ${round} of ${rounds}: ${policy} with ${100 * share} % of the experts`);
        const expertBytes = Math.floor(share * expertBytesTotal);
        const { model: _, ...lengths } = conditions;
        const live = await liveRun({ ...lengths, modelPath, policy, expertBytes, textFile: TEXT }, signal);
        rows = withRound(rows, share, policy, await roundOf(live, model, policy, machine, warmupTokens));
        keepResult(values.out, result(conditions, rows));
      }
    }
  process.stdout.write(values.json ? `${JSON.stringify(result(conditions, rows))}\n` : `${table(rows)}\n`);
});

function result(conditions: Conditions, rows: readonly AccuracyRow[]) {
  return { kind: "simulator", date: new Date().toISOString(), machine: describeMachine(), conditions, rows };
}

/** What an earlier run has kept, so that it can be measured in parts. @throws RangeError for other conditions */
function olderRows(file: string, conditions: Conditions): readonly AccuracyRow[] {
  if (!existsSync(file)) return [];
  const older = JSON.parse(readFileSync(file, "utf8")) as ReturnType<typeof result>;
  if (JSON.stringify(older.conditions) !== JSON.stringify(conditions))
    throw new RangeError(`${file} was measured in another way; name another file with --out, or remove it.`);
  return older.rows;
}

function withRound(rows: readonly AccuracyRow[], cacheShare: number, policy: string, round: Round): AccuracyRow[] {
  const same = (row: AccuracyRow) => row.cacheShare === cacheShare && row.policy === policy;
  const rounds = [...(rows.find(same)?.rounds ?? []), round];
  const measuredTokensPerSecond = median(rounds.map(({ live }) => live.tokensPerSecond));
  const predictedTokensPerSecond = median(rounds.map(({ predicted }) => predicted.predictedTokensPerSecond ?? 0));
  const error = predictedTokensPerSecond / measuredTokensPerSecond - 1;
  const row = { cacheShare, policy, measuredTokensPerSecond, predictedTokensPerSecond, error, rounds };
  return [...rows.filter((other) => !same(other)), row].sort(
    (a, b) => a.cacheShare - b.cacheShare || (a.policy < b.policy ? -1 : 1),
  );
}

/** Replays what the live run recorded. */
async function roundOf(
  { sample: recorded, ...live }: LiveRun,
  model: TracedModel,
  policy: string,
  machine: MachineModel,
  warmupTokens: number,
): Promise<Round> {
  const sample = sampleOf(recorded);
  const { rows } = await simulate(memoryTrace(describe(model, sample), [sample]), {
    ...{ policies: [policy], cacheBytes: [live.cacheBytes], machine, warmupTokens },
    passes: { as: "recorded" },
  });
  const { predictedTokensPerSecond, computeMs, stallMs, managementMs, bytesPerToken, hits, misses } = rows[0];
  return {
    date: new Date().toISOString(),
    driveBytesPerSecond: bestBytesPerSecond(machine.disk),
    live,
    predicted: { predictedTokensPerSecond, computeMs, stallMs, managementMs, bytesPerToken, hits, misses },
  };
}

async function liveRun(job: LiveJob, signal: AbortSignal): Promise<LiveRun> {
  const options = { nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS };
  const outcome = await runBenchChild("./simulator-run.js", job, options);
  if (outcome.status === "failed") throw new Error(outcome.reason);
  return outcome.result as LiveRun;
}

function sampleOf(sample: LiveRun["sample"]): TraceSample {
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

function table(rows: readonly AccuracyRow[]): string {
  const both = (rounds: readonly Round[], predicted: (round: Round) => number | null, live: (round: Round) => number) =>
    [median(rounds.map((round) => predicted(round) ?? 0)), median(rounds.map(live))]
      .map((ms) => ms.toFixed(1))
      .join(" / ");
  return textTable(
    [
      "predicted / measured",
      "tokens/s",
      "error",
      "each round",
      "computing ms",
      "waiting ms",
      "managing ms",
      "hit rate",
    ],
    rows.map(({ cacheShare, policy, measuredTokensPerSecond, predictedTokensPerSecond, error, rounds }) => [
      `${policy}, ${100 * cacheShare} %`,
      `${predictedTokensPerSecond.toFixed(2)} / ${measuredTokensPerSecond.toFixed(2)}`,
      percent(error),
      rounds
        .map(({ live, predicted }) => percent((predicted.predictedTokensPerSecond ?? 0) / live.tokensPerSecond - 1))
        .join(", "),
      both(
        rounds,
        ({ predicted }) => predicted.computeMs,
        ({ live }) => live.computeMs,
      ),
      both(
        rounds,
        ({ predicted }) => predicted.stallMs,
        ({ live }) => live.stallMs,
      ),
      both(
        rounds,
        ({ predicted }) => predicted.managementMs,
        ({ live }) => live.managementMs,
      ),
      median(rounds.map(({ live }) => live.hitRate)).toFixed(3),
    ]),
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
