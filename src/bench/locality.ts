/**
 * `npm run bench:locality`: how fast traces are analysed and in how much memory. Each analysis runs in a process of its own on
 * a synthetic trace from a disk, reading included; or on a trace that you have.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { AnalyzeOptions } from "../locality/analysis.ts";
import { createTrace, openTrace } from "../trace/index.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import type { LocalityMeasurement, LocalitySubject } from "./locality-subject.ts";
import { describeMachine } from "./machine.ts";
import { describeSyntheticTrace, syntheticSamples } from "./synthetic-trace.ts";

const HELP = `Usage: npm run bench:locality -- [options]

  --activations N  expert uses of each synthetic trace (default: 100000000)
  --shapes LIST    their layers x experts / experts used (default: 16x64/8,48x128/8)
  --trace DIR      analyse this trace instead
  --workers N      threads of an analysis (default: 2)
  --runs N         of each analysis; the median counts (default: 3)
  --result FILE    where the figures are kept (default: bench/results/locality.json)
  --json           print the figures as JSON
`;

/** What the goal of 60 s for 1e8 expert uses is about, and the report as the command makes it. */
const ANALYSES: Readonly<Record<string, AnalyzeOptions>> = {
  "SRP 4, LRU, LFU, Belady, SCH 1": { schSegmentLengths: [16], cacheActivations: 0, vocabularyTokens: 0 },
  "the whole report": {},
};

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      activations: { type: "string", default: "100000000" },
      shapes: { type: "string", default: "16x64/8,48x128/8" },
      trace: { type: "string" },
      workers: { type: "string", default: "2" },
      runs: { type: "string", default: "3" },
      result: { type: "string", default: resultFile("locality") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const activations = wholeNumber("--activations", values.activations, 1);
  const workers = wholeNumber("--workers", values.workers, 1);
  const runs = wholeNumber("--runs", values.runs, 1);
  const rows: Row[] = [];
  if (values.trace !== undefined) {
    rows.push(...(await measure(values.trace, workers, runs, signal)));
  } else {
    for (const shape of values.shapes.split(",")) {
      const directory = mkdtempSync(path.join(os.tmpdir(), "warmset-locality-"));
      try {
        await writeSynthetic(directory, shapeOf(shape), activations, signal);
        rows.push(...(await measure(directory, workers, runs, signal)));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    }
  }
  const result = { kind: "locality", date: new Date().toISOString(), machine: describeMachine(), workers, runs, rows };
  keepResult(values.result, result);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${table(rows)}\n`);
});

interface Row extends LocalityMeasurement {
  readonly model: string;
  readonly analysis: string;
  readonly activationsPerSecond: number;
}

interface Shape {
  readonly layers: number;
  readonly experts: number;
  readonly expertsUsed: number;
}

function shapeOf(text: string): Shape {
  const found = /^(\d+)x(\d+)\/(\d+)$/.exec(text);
  if (found === null) throw new Error(`--shapes takes layers x experts / used, such as 16x64/8, not "${text}"`);
  const [layers, experts, expertsUsed] = found.slice(1).map(Number);
  return { layers, experts, expertsUsed };
}

async function writeSynthetic(directory: string, shape: Shape, activations: number, signal: AbortSignal) {
  progress(`writing a trace of ${shape.layers} x ${shape.experts} experts, ${shape.expertsUsed} used`);
  await using writer = await createTrace(directory, describeSyntheticTrace(shape));
  for (const sample of syntheticSamples(Math.ceil(activations / (shape.layers * shape.expertsUsed)), shape)) {
    signal.throwIfAborted();
    writer.beginSample(sample.domain);
    await writer.append(sample);
    await writer.endSample();
  }
  await writer.finish();
}

async function measure(directory: string, workers: number, runs: number, signal: AbortSignal): Promise<Row[]> {
  const { name } = (await openTrace(directory)).description.model;
  const rows: Row[] = [];
  for (const [analysis, options] of Object.entries(ANALYSES)) {
    const measured: LocalityMeasurement[] = [];
    for (let run = 0; run < runs; run++) {
      measured.push(await inOwnProcess({ directory, options: { ...options, workers } }, signal));
      progress(`${name}, ${analysis}: ${measured[run].seconds.toFixed(1)} s`);
    }
    const median = measured.sort((a, b) => a.seconds - b.seconds)[Math.floor((runs - 1) / 2)];
    rows.push({
      model: name,
      analysis,
      ...median,
      activationsPerSecond: Math.round(median.activations / median.seconds),
    });
  }
  return rows;
}

function inOwnProcess(subject: LocalitySubject, signal: AbortSignal): Promise<LocalityMeasurement> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL("./locality-subject.js", import.meta.url));
    const child = spawn(process.execPath, [program, JSON.stringify(subject)], {
      stdio: ["ignore", "pipe", "inherit"],
      signal,
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(JSON.parse(output)) : reject(new Error(`the analysis ended with code ${code}`)),
    );
  });
}

function table(rows: readonly Row[]): string {
  return textTable(
    ["trace", "analysis", "million uses", "seconds", "million/s", "CPU seconds", "peak MiB"],
    rows.map(({ model, analysis, activations, seconds, activationsPerSecond, cpuSeconds, peakRssBytes }) => [
      model,
      analysis,
      (activations / 1e6).toFixed(0),
      seconds.toFixed(1),
      (activationsPerSecond / 1e6).toFixed(2),
      cpuSeconds.toFixed(1),
      (peakRssBytes / 2 ** 20).toFixed(0),
    ]),
  );
}
