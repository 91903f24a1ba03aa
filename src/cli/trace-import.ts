/** `warmset trace import`: a trace that another engine recorded, as one of ours. */
import type { Command } from "commander";
import { importRouteTrace } from "../trace/import-route-trace.ts";
import type { TraceDescription } from "../trace/trace.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatBytes } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { StatusLine } from "./status-line.ts";

export function addTraceImportCommand(trace: Command): void {
  const command = trace
    .command("import <FILE>")
    .description("make a trace of a route_trace v1 file (CSV, or CSV packed by gzip)");
  command.option("--out <directory>", "where the trace is written");
  addOptions(command, ["json", "quiet", "verbose"]);
  command.action((file: string) => importTrace(file, settingsOf(command)));
}

async function importTrace(file: string, settings: Settings): Promise<void> {
  const { out, quiet = false } = settings;
  if (out === undefined) throw new UsageError("Say where the trace is written with --out DIR.");
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  const { description, samples, tokens } = await importRouteTrace(file, out, {
    signal: stop.signal,
    onProgress: (done, total) => status.progress("importing", done, total),
  });
  status.clear();
  const document = { directory: out, samples, tokens, model: description.model, notes: description.recording.notes };
  process.stdout.write(
    settings.json ? `${JSON.stringify(document)}\n` : `${table(out, description, samples, tokens)}\n`,
  );
}

function table(directory: string, { model, recording }: TraceDescription, samples: number, tokens: number): string {
  const { moeBlocks, experts, expertsUsed, expertBytes } = model;
  const sizes = [...new Set(expertBytes)].sort((a, b) => a - b).map(formatBytes);
  const rows = [
    ["model", `${model.name} (${model.architecture})`],
    ["layers", `${moeBlocks.length} with ${experts} experts, ${expertsUsed} used`],
    ["expert", sizes.join(" or ")],
    ["samples", String(samples)],
    ["tokens", tokens.toLocaleString("en-US")],
  ];
  return [directory, alignColumns(rows), ...recording.notes.map((note) => `note: ${note}`)].join("\n");
}
