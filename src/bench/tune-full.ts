/**
 * `npm run bench:tune-full`: the demo model's routers trained end to end by the command lines of docs/tune.md, with the two controls
 * of the paper: the task's loss alone, and locality without trust.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import type { Measured } from "../tune/eval/measured.ts";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { compactJson } from "./finemoe/compact-json.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { tuneCommand } from "./tune-command.ts";
import { keptDocument, type TuningDocument } from "./tune-full/kept-document.ts";

const HELP = `Usage: npm run bench:tune-full -- [options] TEXT...

  TEXT         files, one for each domain
  --runs LIST  (default: remoe+,ce,no-trust)
  --steps N    (default: 500 of remoe+, 60 of the controls)
  --out FILE   where the figures are kept (default: bench/results/tune-full.json)
  --json       print the figures as JSON
`;

/** Steps of 4,096 tokens, the default of `remoe`; the paper's objective has nothing against a collapse. */
const CONTROL = ["--lr", "5e-4", "--lr-decay", "cosine", "--ignore-collapse"];
const RUNS: Readonly<Record<string, { readonly steps: number; readonly options: readonly string[] }>> = {
  "remoe+": { steps: 500, options: ["--objective", "remoe+"] },
  ce: { steps: 60, options: [...CONTROL, "--lambda", "trust=0,reuse=0,smooth=0,lag=0,window=0"] },
  "no-trust": { steps: 60, options: [...CONTROL, "--lambda", "trust=0,reuse=0.6,smooth=0.3,lag=0.3,window=0.06"] },
};

interface Run {
  readonly name: string;
  readonly command: string;
  readonly seconds: number;
  readonly document: TuningDocument;
}

await runBenchProgram(async (signal) => {
  const { values, positionals: texts } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: "string", default: Object.keys(RUNS).join(",") },
      steps: { type: "string" },
      out: { type: "string", default: resultFile("tune-full") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (texts.length === 0) throw new Error("Give texts to train on, one file for each domain");
  const names = values.runs.split(",");
  const unknown = names.find((name) => !Object.hasOwn(RUNS, name));
  if (unknown !== undefined) throw new Error(`--runs takes ${Object.keys(RUNS).join(", ")}, not "${unknown}"`);
  const runs: Run[] = [];
  const result = () => ({
    kind: "tune-full",
    date: new Date().toISOString(),
    warmset: warmsetVersion(),
    machine: describeMachine(),
    complete: runs.length === names.length,
    runs: runs.map((run) => ({ ...run, document: keptDocument(run.document) })),
  });
  const scratch = mkdtempSync(path.join(os.tmpdir(), "tune-full-"));
  try {
    for (const name of names) {
      const steps = values.steps === undefined ? RUNS[name].steps : wholeNumber("--steps", values.steps, 1);
      const args = [
        ...[DEMO_MODEL, "--method", "full", "--steps", `${steps}`, ...RUNS[name].options],
        ...["--text", ...texts, "--sample-length", "256"],
      ];
      progress(`${name}, ${steps} steps`);
      const { document, seconds } = await tuneCommand<TuningDocument>(args, path.join(scratch, `${name}.gguf`), {
        signal,
      });
      runs.push({
        name,
        command: ["warmset tune", ...args.map((arg) => path.basename(arg))].join(" "),
        ...{ seconds, document },
      });
      keepResult(values.out, result(), compactJson);
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
  process.stdout.write(values.json ? `${JSON.stringify(result())}\n` : `${table(runs)}\n`);
});

function table(runs: readonly Run[]): string {
  const percent = (share: number | undefined) => (share === undefined ? "–" : (100 * share).toFixed(2));
  const bounds = ({ interval }: Measured, text: (value: number) => string) =>
    interval === null ? "" : ` (${interval.map(text).join(" to ")})`;
  return textTable(
    ["run", "scale", "overlap %", "of generated %", "perplexity %", "KL"],
    runs.flatMap(({ name, document }) =>
      (document.evaluation?.variants ?? []).flatMap(({ kind, scale, forced, generated, drift }) =>
        kind !== "tuned"
          ? []
          : [
              [
                ...[name, `${scale}`, percent(forced.eorChange?.value), percent(generated?.eorChange?.value)],
                `${percent(drift.perplexityChange.value)}${bounds(drift.perplexityChange, percent)}`,
                `${drift.meanKl.value.toFixed(4)}${bounds(drift.meanKl, (value) => value.toFixed(4))}`,
              ],
            ],
      ),
    ),
  );
}
