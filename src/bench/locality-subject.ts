/** One analysis in a process of its own, so that its peak memory is its own: told as JSON what to do, prints what it took. */
import { type AnalyzeOptions, analyzeLocality } from "../locality/analysis.ts";
import { directoryOpener } from "../locality/analysis-workers.ts";
import { openTrace } from "../trace/index.ts";

export interface LocalitySubject {
  readonly directory: string;
  readonly options: AnalyzeOptions;
}

export interface LocalityMeasurement {
  readonly activations: number;
  /** From opening the trace to the report. */
  readonly seconds: number;
  /** Of all threads. */
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

const { directory, options } = JSON.parse(process.argv[2] ?? "") as LocalitySubject;
const start = performance.now();
const report = await analyzeLocality(await openTrace(directory), { ...options, opener: directoryOpener(directory) });
const { user, system } = process.cpuUsage();
const measurement: LocalityMeasurement = {
  activations: report.phases.reduce((sum, { samples }) => sum + samples.activations, 0),
  seconds: (performance.now() - start) / 1000,
  cpuSeconds: (user + system) / 1e6,
  // maxRSS is in kilobytes.
  peakRssBytes: process.resourceUsage().maxRSS * 1024,
};
process.stdout.write(`${JSON.stringify(measurement)}\n`);
