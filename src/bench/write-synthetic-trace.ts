/**
 * `npm run bench:trace`: writes a synthetic trace of the wanted size, reads it back, and prints the speed of both and the
 * memory that they took. The trace is removed, or kept with --out for other measurements.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { createTrace, openTrace, type WantedColumns } from "../trace/index.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import { describeSyntheticTrace, type SyntheticTraceOptions, syntheticSamples } from "./synthetic-trace.ts";

const HELP = `Usage: npm run bench:trace -- [options]

  --activations N  expert uses to write (default: 100000000)
  --gigabytes N    files of this size instead
  --layers N       MoE layers (default: 16)
  --experts N      experts per layer (default: 64)
  --used N         experts of a token in a layer (default: 8)
  --out DIR        keep the trace there (default: a temporary directory, removed in the end)
  --result FILE    where the figures are kept (default: bench/results/trace-files.json)
  --json           print the figures as JSON
`;
const REPORT_EVERY_MS = 5000;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      activations: { type: "string", default: "100000000" },
      gigabytes: { type: "string" },
      layers: { type: "string", default: "16" },
      experts: { type: "string", default: "64" },
      used: { type: "string", default: "8" },
      out: { type: "string" },
      result: { type: "string", default: resultFile("trace-files") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const shape = {
    layers: wholeNumber("--layers", values.layers, 1),
    experts: wholeNumber("--experts", values.experts, 1),
    expertsUsed: wholeNumber("--used", values.used, 1),
  };
  const bytes = values.gigabytes === undefined ? undefined : 1e9 * wholeNumber("--gigabytes", values.gigabytes, 1);
  const activations = wholeNumber("--activations", values.activations, 1);
  const directory = values.out ?? (await fs.mkdtemp(path.join(os.tmpdir(), "warmset-trace-")));
  try {
    const written = await write(directory, shape, { bytes, activations }, signal);
    const rows = [
      written,
      await read(directory, "read experts", {}, signal),
      await read(
        directory,
        "read experts, weights, tokens",
        { weights: true, tokens: true, predictions: true },
        signal,
      ),
    ];
    const result = { kind: "trace-files", date: new Date().toISOString(), machine: describeMachine(), ...shape, rows };
    keepResult(values.result, result);
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${table(rows)}\n`);
  } finally {
    if (values.out === undefined) await fs.rm(directory, { recursive: true, force: true });
  }
});

interface Row {
  readonly what: string;
  readonly activations: number;
  readonly seconds: number;
  readonly activationsPerSecond: number;
  /** Of the process, up to the end of this row. */
  readonly peakRssBytes: number;
  readonly fileBytes: number;
}

/** The time counts without that of making the samples up. */
async function write(
  directory: string,
  shape: SyntheticTraceOptions & { readonly layers: number; readonly expertsUsed: number },
  wanted: { readonly bytes: number | undefined; readonly activations: number },
  signal: AbortSignal,
): Promise<Row> {
  const perToken = shape.layers * shape.expertsUsed;
  const tokens = wanted.bytes === undefined ? Math.ceil(wanted.activations / perToken) : Number.MAX_SAFE_INTEGER;
  const report = reporter("write");
  await using writer = await createTrace(directory, describeSyntheticTrace(shape));
  let ms = 0;
  for (const sample of syntheticSamples(tokens, shape)) {
    signal.throwIfAborted();
    const start = performance.now();
    writer.beginSample(sample.domain);
    await writer.append(sample);
    await writer.endSample();
    ms += performance.now() - start;
    report(writer.tokens * perToken);
    // A look at the files now and then is enough for a size.
    if (wanted.bytes !== undefined && writer.samples % 64 === 0 && (await sizeOf(directory)) >= wanted.bytes) break;
  }
  const start = performance.now();
  await writer.finish();
  ms += performance.now() - start;
  return rowOf("write", writer.tokens * perToken, ms, await sizeOf(directory));
}

async function read(directory: string, what: string, wanted: WantedColumns, signal: AbortSignal): Promise<Row> {
  const report = reporter(what);
  const start = performance.now();
  const trace = await openTrace(directory);
  let activations = 0;
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, wanted)) {
      signal.throwIfAborted();
      activations += sample.experts.length;
      report(activations);
    }
  return rowOf(what, activations, performance.now() - start, await sizeOf(directory));
}

function rowOf(what: string, activations: number, ms: number, fileBytes: number): Row {
  const activationsPerSecond = Math.round(activations / (ms / 1000));
  // maxRSS is in kilobytes.
  const peakRssBytes = process.resourceUsage().maxRSS * 1024;
  return { what, activations, seconds: ms / 1000, activationsPerSecond, peakRssBytes, fileBytes };
}

function reporter(what: string): (activations: number) => void {
  let shownAt = performance.now();
  return (activations) => {
    if (performance.now() - shownAt < REPORT_EVERY_MS) return;
    shownAt = performance.now();
    progress(`${what}: ${(activations / 1e6).toFixed(0)} million activations`);
  };
}

async function sizeOf(directory: string): Promise<number> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const sizes = await Promise.all(files.map((file) => fs.stat(file).then(({ size }) => size)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function table(rows: readonly Row[]): string {
  return textTable(
    ["", "activations", "seconds", "million/s", "peak MiB", "files MB"],
    rows.map((row) => [
      row.what,
      (row.activations / 1e6).toFixed(0),
      row.seconds.toFixed(2),
      (row.activationsPerSecond / 1e6).toFixed(0),
      (row.peakRssBytes / 2 ** 20).toFixed(0),
      (row.fileBytes / 1e6).toFixed(0),
    ]),
  );
}
