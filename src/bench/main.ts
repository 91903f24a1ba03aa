/**
 * `npm run bench:memory`: the standard comparison with stock llama.cpp on the inflated demo model. Progress goes to
 * stderr, the table (or with --json the whole result) to stdout, and the result is kept in bench/results.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { policyByName } from "../policy/index.ts";
import { splitPolicyNames } from "../policy/policy-switches.ts";
import { heldOutTexts, inflatedDemo } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, wholeNumber } from "./bench-program.ts";
import { mergeResults } from "./merge-results.ts";
import { renderTable, withTable } from "./readme-table.ts";
import type { BenchResult } from "./results.ts";
import { runSuite } from "./run-suite.ts";
import { DECODE_TOKENS, planSuite, WARMUP_TOKENS } from "./suite-plan.ts";

const HELP = `Usage: npm run bench:memory -- [options]

  --model FILE       model to bench (default: the demo model, inflated to 6.9 GB)
  --memory A,B       limits in percent of the file (default: 50,33,20)
  --policies A,B     policies; the first is the one the targets are for
  --tokens N         forced tokens of a run, warm-up included (default: ${DECODE_TOKENS})
  --warmup N         of them before the count starts (default: ${WARMUP_TOKENS})
  --runs N           repetitions (default: 3)
  --threads N        threads that compute (default: one per core)
  --timeout MINUTES  a single run that takes longer has failed (default: 15)
  --cold-only        run only the cold starts
  --limited-only     leave out cold starts, the fitting case and runs without prefetch
  --no-repack        load stock llama.cpp's weights as they are in the file
  --add-to FILE      keep the cells of this earlier result that are not measured now
  --out FILE         where the result is kept, after every limit (default: bench/results/memory.json)
  --inflate-only     write the inflated model, print its path, and stop
  --readme FILE      put the table of the kept result into FILE, and run nothing
  --json             print the result as JSON
`;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      memory: { type: "string", default: "50,33,20" },
      policies: { type: "string" },
      tokens: { type: "string", default: String(DECODE_TOKENS) },
      warmup: { type: "string", default: String(WARMUP_TOKENS) },
      runs: { type: "string", default: "3" },
      threads: { type: "string" },
      timeout: { type: "string", default: "15" },
      "cold-only": { type: "boolean", default: false },
      "limited-only": { type: "boolean", default: false },
      "no-repack": { type: "boolean", default: false },
      out: { type: "string", default: resultFile("memory") },
      "add-to": { type: "string" },
      "inflate-only": { type: "boolean", default: false },
      readme: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.readme !== undefined) {
    const result = JSON.parse(readFileSync(values.out, "utf8")) as BenchResult;
    writeFileSync(values.readme, withTable(readFileSync(values.readme, "utf8"), result));
    return;
  }
  const policies = values.policies === undefined ? [DEFAULT_POLICY] : splitPolicyNames(values.policies);
  for (const name of policies) policyByName(name);
  const cells = planSuite({
    memoryFractions: values.memory.split(",").map((percent) => wholeNumber("--memory", percent, 1) / 100),
    policies,
    decodeTokens: wholeNumber("--tokens", values.tokens, 1),
    warmupTokens: wholeNumber("--warmup", values.warmup),
    complete: !values["limited-only"],
  }).filter(({ scenario }) => !values["cold-only"] || scenario === "cold");
  const repetitions = wholeNumber("--runs", values.runs, 1);
  const timeoutMs = 60_000 * wholeNumber("--timeout", values.timeout, 1);
  const threads = values.threads === undefined ? {} : { threads: wholeNumber("--threads", values.threads, 1) };

  const modelPath = values.model ?? (await inflatedDemo(signal));
  if (values["inflate-only"]) {
    process.stdout.write(`${modelPath}\n`);
    return;
  }
  const earlier =
    values["add-to"] === undefined ? undefined : (JSON.parse(readFileSync(values["add-to"], "utf8")) as BenchResult);
  const merged = (part: BenchResult) => (earlier === undefined ? part : mergeResults(earlier, part, policies[0]));
  const part = await runSuite({
    modelPath,
    texts: heldOutTexts(),
    cells,
    targetPolicy: policies[0],
    repetitions,
    ...threads,
    stockRepack: !values["no-repack"],
    timeoutMs,
    onProgress: progress,
    onResult: (soFar) => keepResult(values.out, merged(soFar)),
    signal,
  });
  const result = merged(part);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${renderTable(result)}\n`);
  for (const { name, wanted, measured, met } of result.targets)
    progress(
      `${met === null ? "?" : met ? "met" : "MISSED"}: ${name} ${wanted}: ${measured?.toFixed(3) ?? "not measured"}`,
    );
});
