/**
 * `npm run bench:recording`: what it costs to record routing. The same batches of held-out text are computed with and
 * without a recording of them, in processes that alternate; the recording is whole, with predictions, losses and files.
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
import { alternatingOrder } from "./suite-plan.ts";

const HELP = `Usage: npm run bench:recording -- [options]

  --model FILE         model that fits memory (default: the demo model)
  --text FILE          text to record; may be given several times (default: shipped texts)
  --sample-length N    tokens of a sample (default: 512)
  --samples N          samples of each text (default: 8)
  --runs N             repetitions (default: 5)
  --threads N          threads that compute (default: one per core)
  --out FILE           where the result is kept (default: bench/results/recording.json)
  --json               print the result as JSON
`;
const TIMEOUT_MS = 5 * 60_000;
const MODES: readonly RecordingMode[] = ["untraced", "recorded", "last logits"];
const TEXTS = fileURLToPath(new URL("../../models/text", import.meta.url));

interface RecordingRow {
  readonly mode: RecordingMode;
  readonly runs: number;
  readonly failures: readonly string[];
  readonly tokensPerSecond: number | null;
  readonly peakRssBytes: number | null;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: DEMO_MODEL },
      text: { type: "string", multiple: true },
      "sample-length": { type: "string", default: "512" },
      samples: { type: "string", default: "8" },
      runs: { type: "string", default: "5" },
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

  const runs = new Map(MODES.map((mode) => [mode, { finished: [] as RecordingRun[], failures: [] as string[] }]));
  const result = () => {
    const rows = [...runs].map(([mode, { finished, failures }]): RecordingRow => {
      return {
        mode,
        runs: finished.length,
        failures,
        tokensPerSecond: medianOrNull(finished.map(({ tokens, ms }) => (1000 * tokens) / ms)),
        peakRssBytes: medianOrNull(finished.map((run) => run.peakRssBytes)),
      };
    });
    return {
      kind: "recording",
      date: new Date().toISOString(),
      machine: describeMachine(),
      ...setting,
      texts: setting.texts.map((text) => path.basename(text)),
      modelPath: path.basename(setting.modelPath),
      repetitions,
      rows,
      /** Share of the untraced throughput that recording takes. */
      cost: costOf(rows),
    };
  };

  for (let repetition = 0; repetition < repetitions; repetition++)
    for (const mode of alternatingOrder(MODES, repetition)) {
      progress(`run ${repetition + 1} of ${repetitions}: ${mode}`);
      const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-recording-"));
      const message: RecordingMessage = { mode, ...setting, directory: path.join(folder, "trace") };
      try {
        const outcome = await runBenchChild("./recording-subject.js", message, {
          nodeFlags: HOST_NODE_FLAGS,
          signal,
          timeoutMs: TIMEOUT_MS,
        });
        if (outcome.status === "finished") runs.get(mode)?.finished.push(outcome.result as RecordingRun);
        else {
          progress(`  failed: ${outcome.reason}`);
          runs.get(mode)?.failures.push(outcome.reason);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
      keepResult(values.out, result());
    }

  const whole = result();
  process.stdout.write(values.json ? `${JSON.stringify(whole)}\n` : `${table(whole.rows, whole.cost)}\n`);
});

function costOf(rows: readonly RecordingRow[]): number | null {
  const speed = (mode: RecordingMode) => rows.find((row) => row.mode === mode)?.tokensPerSecond ?? null;
  const untraced = speed("untraced");
  const recorded = speed("recorded");
  return untraced === null || recorded === null ? null : 1 - recorded / untraced;
}

function table(rows: readonly RecordingRow[], cost: number | null): string {
  const number = (value: number | null, unit = 1) => (value === null ? "-" : (value / unit).toFixed(0));
  const text = textTable(
    ["", "tokens/s", "peak RSS, MiB", "runs"],
    rows.map((row) => [row.mode, number(row.tokensPerSecond), number(row.peakRssBytes, 2 ** 20), String(row.runs)]),
  );
  return cost === null ? text : `${text}\nrecording costs ${(100 * cost).toFixed(1)} %`;
}
