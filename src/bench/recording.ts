/**
 * `npm run bench:recording`: what it costs to record routing. The same batches of held-out text are computed with and
 * without a recording of them, in processes that take turns; the recording is whole, with predictions, losses and files.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import type { RecordingMessage, RecordingMode, RecordingRun } from "./recording-protocol.ts";
import { medianOrNull } from "./report.ts";
import { runBenchChild } from "./run-child.ts";
import { TimeSlices } from "./time-slices.ts";

const HELP = `Usage: npm run bench:recording -- [options]

  --model FILE         model that fits memory (default: the demo model)
  --text FILE          text to record; may be given several times (default: shipped texts)
  --sample-length N    tokens of a sample (default: 512)
  --samples N          samples of each text (default: 12)
  --runs N             repetitions (default: 3)
  --threads N          threads that compute (default: one per core)
  --out FILE           where the result is kept (default: bench/results/recording.json)
  --json               print the result as JSON
`;
const TIMEOUT_MS = 5 * 60_000;
const MODES: readonly RecordingMode[] = ["untraced", "recorded", "last logits"];
const TEXTS = fileURLToPath(new URL("../../models/text", import.meta.url));

interface TimedRun {
  readonly tokensPerSecond: number;
  readonly peakRssBytes: number;
}

interface RecordingRow {
  readonly mode: RecordingMode;
  readonly runs: number;
  readonly tokensPerSecond: number | null;
  readonly peakRssBytes: number | null;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: DEMO_MODEL },
      text: { type: "string", multiple: true },
      "sample-length": { type: "string", default: "512" },
      samples: { type: "string", default: "12" },
      runs: { type: "string", default: "3" },
      threads: { type: "string" },
      out: { type: "string", default: resultFile("recording") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const repetitions = wholeNumber("--runs", values.runs, 1);
  const shippedTexts = readdirSync(TEXTS).map((name) => path.join(TEXTS, name));
  const setting = {
    modelPath: values.model,
    texts: values.text ?? shippedTexts,
    sampleLength: wholeNumber("--sample-length", values["sample-length"], 1),
    samples: wholeNumber("--samples", values.samples, 1),
    threads: values.threads === undefined ? os.availableParallelism() : wholeNumber("--threads", values.threads, 1),
  };

  const finished = new Map(MODES.map((mode) => [mode, [] as TimedRun[]]));
  const failures: string[] = [];
  const result = () => {
    const rows = [...finished].map(
      ([mode, runs]): RecordingRow => ({
        mode,
        runs: runs.length,
        tokensPerSecond: medianOrNull(runs.map((run) => run.tokensPerSecond)),
        peakRssBytes: medianOrNull(runs.map((run) => run.peakRssBytes)),
      }),
    );
    return {
      kind: "recording",
      date: new Date().toISOString(),
      machine: describeMachine(),
      ...setting,
      texts: setting.texts.map((text) => path.basename(text)),
      modelPath: path.basename(setting.modelPath),
      repetitions,
      rows,
      failures,
      /** Share of the untraced throughput that recording takes: the median over the repetitions. */
      cost: medianOrNull(costs(finished)),
    };
  };

  for (let repetition = 0; repetition < repetitions; repetition++) {
    progress(`run ${repetition + 1} of ${repetitions}`);
    const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-recording-"));
    const slices = new TimeSlices();
    try {
      const runs = MODES.map(async (mode) => {
        const message: RecordingMessage = { mode, ...setting, directory: path.join(folder, "trace") };
        let pid = 0;
        const outcome = runBenchChild("./recording-subject.js", message, {
          nodeFlags: HOST_NODE_FLAGS,
          signal,
          timeoutMs: TIMEOUT_MS,
          onStart: (id) => {
            pid = id;
          },
        });
        slices.add(
          pid,
          outcome.catch(() => {}),
        );
        return { mode, pid, outcome: await outcome };
      });
      await slices.run();
      for (const { mode, pid, outcome } of await Promise.all(runs)) {
        if (outcome.status === "failed") {
          progress(`  ${mode} failed: ${outcome.reason}`);
          failures.push(`${mode}: ${outcome.reason}`);
          continue;
        }
        const { tokens, fromMs, toMs, peakRssBytes } = outcome.result as RecordingRun;
        finished.get(mode)?.push({ tokensPerSecond: (1000 * tokens) / slices.ranMs(pid, fromMs, toMs), peakRssBytes });
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
    keepResult(values.out, result());
  }

  const whole = result();
  process.stdout.write(values.json ? `${JSON.stringify(whole)}\n` : `${table(whole.rows, whole.cost)}\n`);
});

/** One per repetition in which both were measured. */
function costs(finished: ReadonlyMap<RecordingMode, readonly TimedRun[]>): number[] {
  const untraced = finished.get("untraced") ?? [];
  const recorded = finished.get("recorded") ?? [];
  return recorded.flatMap((run, i) =>
    untraced[i] === undefined ? [] : [1 - run.tokensPerSecond / untraced[i].tokensPerSecond],
  );
}

function table(rows: readonly RecordingRow[], cost: number | null): string {
  const number = (value: number | null, unit = 1) => (value === null ? "-" : (value / unit).toFixed(0));
  const text = textTable(
    ["", "tokens/s", "peak RSS, MiB", "runs"],
    rows.map((row) => [row.mode, number(row.tokensPerSecond), number(row.peakRssBytes, 2 ** 20), String(row.runs)]),
  );
  return cost === null ? text : `${text}\nrecording costs ${(100 * cost).toFixed(1)} %`;
}
