/**
 * `warmset locality`: what a routing trace says about keeping experts in memory, as text, as JSON, as an HTML report and as
 * figures. Figures need libraries that are slow to load, so those are imported when asked for.
 */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { analyzeLocality } from "../locality/analysis.ts";
import { directoryOpener } from "../locality/analysis-workers.ts";
import type { LocalityReport } from "../locality/report-data.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { stopSignal } from "./interruption.ts";
import { localityText } from "./locality-text.ts";
import { StatusLine, TOKENS } from "./status-line.ts";

export function addLocalityCommand(program: Command): void {
  const command = program
    .command("locality <TRACE>")
    .description("tell from a trace whether a model suits offloading, and how large its expert cache should be");
  addOptions(command, [
    "segment",
    "cacheRatio",
    "sampleLength",
    "phase",
    "convention",
    "microBatches",
    "vocabulary",
    "workers",
    "html",
    "svg",
    "png",
    "json",
    "quiet",
    "verbose",
  ]);
  command.action((directory: string) => locality(directory, settingsOf(command)));
}

async function locality(directory: string, settings: Settings): Promise<void> {
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  const source = await openTrace(directory);
  const tokenText = await textsFrom(settings.vocabulary, source.description.model.tokenizerHash);
  const report = await analyzeLocality(source, {
    ...(settings.segment === undefined ? {} : { segmentLengths: settings.segment }),
    ...(settings.cacheRatio === undefined ? {} : { cacheRatios: settings.cacheRatio }),
    sampleLength: settings.sampleLength ?? 512,
    phase: settings.phase ?? "apart",
    convention: settings.convention ?? "token/free",
    microBatches: settings.microBatches ?? "token",
    workers: settings.workers ?? availableParallelism(),
    opener: directoryOpener(directory),
    notes: source.unfinished === undefined ? [] : [source.unfinished],
    ...(tokenText === undefined ? {} : { tokenText }),
    signal: stop.signal,
    onProgress: ({ doneTokens, totalTokens }) => status.progress("analysing", doneTokens, totalTokens, TOKENS),
  });
  status.clear();
  const written = await writeReport(report, settings);
  process.stdout.write(`${settings.json ? JSON.stringify(report) : localityText(report)}\n`);
  if (!settings.quiet) for (const path of written) process.stderr.write(`written: ${path}\n`);
}

async function textsFrom(
  file: string | undefined,
  tokenizerHash: string | null,
): Promise<((token: number) => string | null) | undefined> {
  if (file === undefined) return undefined;
  const { tokenTexts } = await import("./token-texts.ts");
  const { modelPath } = await import("./model-options.ts");
  return tokenTexts(modelPath(file, {}), tokenizerHash);
}

/** Returns what was written, for the user to open. */
async function writeReport(report: LocalityReport, { html, svg, png }: Settings): Promise<string[]> {
  if (html === undefined && svg === undefined && png === undefined) return [];
  const { localityFigures, renderLocalityHtml } = await import("../report/locality-report.ts");
  const { writeFigures } = await import("../report/write-figures.ts");
  const written: string[] = [];
  if (html !== undefined) {
    await writeFile(html, renderLocalityHtml(report));
    written.push(html);
  }
  if (svg !== undefined) written.push(...(await writeFigures(svg, localityFigures(report))));
  if (png !== undefined) written.push(...(await writeFigures(png, localityFigures(report), { png: true })));
  return written;
}
