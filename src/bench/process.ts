/**
 * `npm run bench:process`: why the model runs in a process of its own. Time per token of the resident demo model on the
 * main thread with several flags, in a worker thread, and through the public API, at the start and when V8 has compiled
 * everything, beside the memory that each layout takes.
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import { LAYOUTS, type LayoutMessage, type LayoutRow, type LayoutRun } from "./process-layouts.ts";
import { medianOrNull } from "./report.ts";
import { runBenchChild } from "./run-child.ts";
import { alternatingOrder } from "./suite-plan.ts";

const HELP = `Usage: npm run bench:process -- [options]

  --model FILE  model that fits memory, with a context of 512 tokens (default: the demo model)
  --runs N      repetitions (default: 5)
  --threads N   threads that compute (default: one per core)
  --out FILE    where the result is kept (default: bench/results/process.json)
  --json        print the result as JSON
`;
const TIMEOUT_MS = 5 * 60_000;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: DEMO_MODEL },
      runs: { type: "string", default: "5" },
      threads: { type: "string" },
      out: { type: "string", default: resultFile("process") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const repetitions = wholeNumber("--runs", values.runs, 1);
  const threads =
    values.threads === undefined ? os.availableParallelism() : wholeNumber("--threads", values.threads, 1);

  const runs = new Map(LAYOUTS.map((layout) => [layout, { finished: [] as LayoutRun[], failures: [] as string[] }]));
  const result = () => ({
    kind: "process",
    date: new Date().toISOString(),
    machine: describeMachine(),
    threads,
    repetitions,
    rows: [...runs].map(([layout, { finished, failures }]): LayoutRow => {
      const over = (figure: (run: LayoutRun) => number | undefined) =>
        medianOrNull(finished.map(figure).filter((value) => value !== undefined));
      return {
        ...layout,
        runs: finished.length,
        failures,
        firstMsPerToken: over((run) => run.firstMs),
        warmMsPerToken: over((run) => run.warmMs),
        againMsPerToken: over((run) => run.againMs),
        askerResidentBytes: over((run) => run.residentBytes.asker),
        modelResidentBytes: over((run) => run.residentBytes.model),
      };
    }),
  });

  for (let repetition = 0; repetition < repetitions; repetition++)
    for (const layout of alternatingOrder(LAYOUTS, repetition)) {
      progress(`run ${repetition + 1} of ${repetitions}: ${layout.name}`);
      const message: LayoutMessage = { where: layout.where, modelPath: values.model, threads };
      const { nodeFlags } = layout;
      const outcome = await runBenchChild("./process-subject.js", message, {
        nodeFlags,
        signal,
        timeoutMs: TIMEOUT_MS,
      });
      if (outcome.status === "finished") runs.get(layout)?.finished.push(outcome.result as LayoutRun);
      else {
        progress(`  failed: ${outcome.reason}`);
        runs.get(layout)?.failures.push(outcome.reason);
      }
      keepResult(values.out, result());
    }

  const whole = result();
  process.stdout.write(values.json ? `${JSON.stringify(whole)}\n` : `${table(whole.rows)}\n`);
});

function table(rows: readonly LayoutRow[]): string {
  const number = (value: number | null, digits: number, unit = 1) =>
    value === null ? "-" : (value / unit).toFixed(digits);
  return textTable(
    ["ms per token", "first 50", "the same when warm", "200 to 400", "asker RSS, MiB", "model process RSS, MiB"],
    rows.map((row) => [
      row.name,
      number(row.firstMsPerToken, 2),
      number(row.againMsPerToken, 2),
      number(row.warmMsPerToken, 2),
      number(row.askerResidentBytes, 0, 2 ** 20),
      number(row.modelResidentBytes, 0, 2 ** 20),
    ]),
  );
}
