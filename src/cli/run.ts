/** `warmset run`: one completion, streamed to stdout, and on stderr what it took. */
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { warmsetVersion } from "../bench/machine.ts";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { processMemory } from "../engine/process-memory.ts";
import {
  addOptions,
  CACHE_BIAS_OPTIONS,
  MODEL_OPTIONS,
  SAMPLING_OPTIONS,
  type Settings,
  settingsOf,
} from "./config.ts";
import { OutputClosedError, UsageError } from "./failure.ts";
import { stopSignal } from "./interruption.ts";
import { generateOptions, givenTemplate, modelPath, refuseUnusedFiles } from "./model-options.ts";
import { openWithStatus } from "./open-with-status.ts";
import { type RunConfiguration, type RunFigures, runDocument, runSummary } from "./run-report.ts";
import { StatusLine } from "./status-line.ts";

export function addRunCommand(program: Command): void {
  const command = program.command("run [MODEL]").description("generate one answer, or with --raw one continuation");
  addOptions(command, [
    "prompt",
    "raw",
    ...MODEL_OPTIONS,
    "learned",
    "predictor",
    "maps",
    "hints",
    ...CACHE_BIAS_OPTIONS,
    ...SAMPLING_OPTIONS,
    "model",
    "json",
    "quiet",
    "verbose",
  ]);
  command.action((argument: string | undefined) => {
    const settings = settingsOf(command);
    refuseUnusedFiles(command, [settings.policy ?? DEFAULT_POLICY]);
    return run(argument, settings);
  });
}

async function run(argument: string | undefined, settings: Settings): Promise<void> {
  const path = modelPath(argument, settings);
  const template = givenTemplate(settings);
  const sampling = generateOptions(settings);
  const prompt = settings.prompt ?? (await pipedPrompt());
  if (prompt === "") throw new UsageError("The prompt is empty.");
  const quiet = settings.quiet ?? false;
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  const { model, loadMs } = await openWithStatus(path, settings, status, { signal: stop.signal });
  try {
    status.waiting("computing the prompt,");
    const options = { ...sampling, signal: stop.signal, onAbort: "resolve" } as const;
    const generation = settings.raw
      ? model.generate(prompt, options)
      : model.chat([{ role: "user", content: prompt }], {
          ...options,
          ...(template === undefined ? {} : { template }),
        });
    let startToFirstTextMs: number | undefined;
    for await (const piece of generation) {
      startToFirstTextMs ??= performance.now();
      status.clear();
      if (!settings.json) process.stdout.write(piece);
    }
    status.clear();
    const result = await generation.result;
    if (stop.signal.reason instanceof OutputClosedError) throw stop.signal.reason;
    const figures: RunFigures = {
      info: model.info,
      result,
      loadMs,
      startToFirstTextMs,
      peakRssCliBytes: processMemory().peakBytes,
    };
    if (settings.json)
      process.stdout.write(`${JSON.stringify(runDocument(figures, configuration(figures, settings, path)))}\n`);
    else if (!/^$|\n$/.test(result.text)) process.stdout.write("\n");
    if (!quiet && !settings.json) process.stderr.write(`\n${runSummary(figures)}\n`);
    stop.signal.throwIfAborted();
  } finally {
    await model.close();
  }
}

/** What is piped in, without the line end that `echo` adds. @throws UsageError when there is nothing to read */
async function pipedPrompt(): Promise<string> {
  const advice = 'Give a prompt with -p "...", or pipe one in.';
  if (process.stdin.isTTY) throw new UsageError(`No prompt. ${advice}`);
  const piped = await text(process.stdin);
  if (piped.trim() === "") throw new UsageError(`The prompt is empty. ${advice}`);
  return piped.replace(/\r?\n$/, "");
}

function configuration({ info, result }: RunFigures, settings: Settings, model: string): RunConfiguration {
  return {
    model,
    memory: settings.memory ?? (settings.expertMemory === undefined ? "auto" : undefined),
    expertMemory: settings.expertMemory,
    policy: info.policy,
    hints: settings.hints ?? null,
    cacheBias: result.cacheBias?.bias ?? "off",
    contextSize: info.contextSize,
    microBatchTokens: info.microBatchTokens,
    threads: info.threads,
    backend: settings.backend ?? "owned",
    io: settings.io ?? "auto",
    template: settings.raw ? "none" : settings.chatTemplateFile === undefined ? "model" : "file",
    sampling: { ...generateOptions(settings), ...(result.seed === undefined ? {} : { seed: result.seed }) },
    versions: { warmset: warmsetVersion(), llamaCpp: info.llamaVersion, node: process.version },
  };
}
