/**
 * `npm run bench:memory`: the standard comparison with stock llama.cpp on the inflated demo model. Progress goes to
 * stderr, the table (or with --json the whole result) to stdout, and the result is kept in bench/results.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { readHeldOutTexts } from "./held-out.ts";
import { inflatedModel } from "./inflate.ts";
import { renderTable, withTable } from "./readme-table.ts";
import type { BenchResult } from "./results.ts";
import { runSuite } from "./run-suite.ts";
import { planSuite } from "./suite-plan.ts";

const HELP = `Usage: npm run bench:memory -- [options]

  --model FILE       model to bench (default: the demo model, inflated to 6.9 GB)
  --memory A,B       limits in percent of the file (default: 50,33,20)
  --policies A,B     policies; the first is the one the targets are for
  --tokens N         forced tokens of a run, warm-up included (default: 256)
  --warmup N         of them before the count starts (default: 64)
  --runs N           repetitions (default: 3)
  --limited-only     leave out cold starts, the fitting case and runs without prefetch
  --no-repack        load stock llama.cpp's weights as they are in the file
  --out FILE         where the result is kept (default: bench/results/memory.json)
  --inflate-only     write the inflated model, print its path, and stop
  --readme FILE      put the table of the kept result into FILE, and run nothing
  --json             print the result as JSON
`;

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    model: { type: "string" },
    memory: { type: "string", default: "50,33,20" },
    policies: { type: "string" },
    tokens: { type: "string", default: "256" },
    warmup: { type: "string", default: "64" },
    runs: { type: "string", default: "3" },
    "limited-only": { type: "boolean", default: false },
    "no-repack": { type: "boolean", default: false },
    out: { type: "string", default: path.join(root, "bench/results/memory.json") },
    "inflate-only": { type: "boolean", default: false },
    readme: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => interrupted.abort(new Error(`Interrupted by ${signal}`)));

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = interrupted.signal.aborted ? 130 : 1;
}

async function main(): Promise<void> {
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.readme !== undefined) {
    const result = JSON.parse(readFileSync(values.out, "utf8")) as BenchResult;
    writeFileSync(values.readme, withTable(readFileSync(values.readme, "utf8"), result));
    return;
  }
  const policies = values.policies?.split(",") ?? [DEFAULT_POLICY];
  const cells = planSuite({
    memoryFractions: values.memory.split(",").map((percent) => wholeNumber("--memory", percent) / 100),
    policies,
    decodeTokens: wholeNumber("--tokens", values.tokens),
    warmupTokens: wholeNumber("--warmup", values.warmup),
    complete: !values["limited-only"],
  });
  const repetitions = wholeNumber("--runs", values.runs);

  const demo = path.join(root, "models/demo-moe-q8_0.gguf");
  const modelPath = values.model ?? (await inflatedDemo(demo));
  if (values["inflate-only"]) {
    process.stdout.write(`${modelPath}\n`);
    return;
  }
  // Held-out texts of the other domains are under copyleft licences and lie beside the repository, where they exist.
  const texts = readHeldOutTexts([path.join(root, "models/text"), path.join(root, "../shared/data/model/text")]);
  const result = await runSuite({
    modelPath,
    texts,
    cells,
    targetPolicy: policies[0],
    repetitions,
    stockRepack: !values["no-repack"],
    onProgress: (message) => process.stderr.write(`${message}\n`),
    signal: interrupted.signal,
  });
  mkdirSync(path.dirname(values.out), { recursive: true });
  writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${renderTable(result)}\n`);
  for (const { name, wanted, measured, met } of result.targets)
    process.stderr.write(
      `${met === null ? "?" : met ? "met" : "MISSED"}: ${name} ${wanted}: ${measured?.toFixed(2) ?? "not measured"}\n`,
    );
}

async function inflatedDemo(demo: string): Promise<string> {
  let told = 0;
  return inflatedModel(demo, {
    signal: interrupted.signal,
    onProgress({ writtenBytes, totalBytes }) {
      const percent = Math.floor((100 * writtenBytes) / totalBytes);
      if (percent === told || percent % 10 !== 0) return;
      told = percent;
      process.stderr.write(`inflating the demo model: ${percent} %\n`);
    },
  });
}

function wholeNumber(flag: string, text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isInteger(number) || number < 0)
    throw new Error(`${flag} takes whole numbers, not "${text}"`);
  return number;
}
