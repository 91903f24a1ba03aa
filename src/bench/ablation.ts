/**
 * `npm run bench:ablation`: what each part of the engine is worth, on the inflated demo model under one memory limit.
 * Progress goes to stderr, the table (or with --json the result) to stdout, and the result is kept in bench/results.
 */
import { parseArgs } from "node:util";
import { ABLATIONS, ablationsNamed } from "./ablation-plan.ts";
import { ablationTable } from "./ablation-report.ts";
import { heldOutTexts, inflatedDemo } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, wholeNumber } from "./bench-program.ts";
import { runAblation } from "./run-ablation.ts";

const HELP = `Usage: npm run bench:ablation -- [options]

  --model FILE       model to bench (default: the demo model, inflated to 6.9 GB)
  --memory PERCENT   limit in percent of the file (default: 33)
  --only A,B         only what has one of these words in its name, and the default engine
  --tokens N         forced tokens of a run, warm-up included (default: 96)
  --warmup N         of them before the count starts (default: 32)
  --runs N           repetitions (default: 3)
  --threads N        threads that compute (default: one per core)
  --timeout MINUTES  a single run that takes longer has failed (default: 10)
  --out FILE         where the result is kept, after every run (default: bench/results/ablation.json)
  --json             print the result as JSON

Ablations:
${ABLATIONS.map(({ name }) => `  ${name}`).join("\n")}
`;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      memory: { type: "string", default: "33" },
      only: { type: "string" },
      tokens: { type: "string", default: "96" },
      warmup: { type: "string", default: "32" },
      runs: { type: "string", default: "3" },
      threads: { type: "string" },
      timeout: { type: "string", default: "10" },
      out: { type: "string", default: resultFile("ablation") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const settings = {
    ablations: values.only === undefined ? ABLATIONS : ablationsNamed(values.only.split(",")),
    memoryFraction: wholeNumber("--memory", values.memory, 1) / 100,
    decodeTokens: wholeNumber("--tokens", values.tokens, 1),
    warmupTokens: wholeNumber("--warmup", values.warmup),
    repetitions: wholeNumber("--runs", values.runs, 1),
    ...(values.threads === undefined ? {} : { threads: wholeNumber("--threads", values.threads, 1) }),
    timeoutMs: 60_000 * wholeNumber("--timeout", values.timeout, 1),
  };
  const result = await runAblation({
    modelPath: values.model ?? (await inflatedDemo(signal)),
    texts: heldOutTexts(),
    ...settings,
    onProgress: progress,
    onResult: (soFar) => keepResult(values.out, soFar),
    signal,
  });
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${ablationTable(result.rows)}\n`);
});
