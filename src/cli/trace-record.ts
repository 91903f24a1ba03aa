/**
 * `warmset trace MODEL`: records the routing of a model over texts or prompts, with progress on stderr, and says what was
 * recorded.
 */
import { type Command, Option } from "commander";
import { type RecordGeneration, type RecordTraceOptions, recordTrace } from "../trace/record/record-trace.ts";
import type { RecordingProgress, RecordingSummary } from "../trace/record/recording-job.ts";
import type { TextFile } from "../trace/record/text-samples.ts";
import { addOptions, MODEL_OPTIONS, refuseOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatMs } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { labelledFile } from "./labelled-file.ts";
import { modelPath, openOptions } from "./model-options.ts";
import { collect } from "./option-values.ts";
import { StatusLine } from "./status-line.ts";
import { type DrawnPrompts, drawPrompts } from "./trace-prompts.ts";

const TOKENS = {
  amount: (tokens: number) => `${tokens.toLocaleString("en-US")} tokens`,
  rate: (perSecond: number) => `${perSecond.toFixed(perSecond < 100 ? 1 : 0)} tokens/s`,
};

const OF_PROMPTS = ["split", "mix", "requests", "lengths", "turns", "chat", "raw", "skipBad"] as const;
const OF_ANSWERS = ["temp", "topK", "topP", "minP", "seed", "ignoreEos"] as const;

/** Makes recording what `trace` does with a model; its subcommands are added elsewhere. */
export function addTraceRecording(trace: Command): void {
  // Options behind a subcommand's name are that subcommand's, also where they have the same name. The program must read
  // its arguments in the same way.
  trace.enablePositionalOptions().argument("[MODEL]");
  trace.addOption(
    new Option("--text <[label=]file...>", "texts to record, each with the label of its domain if wanted").argParser(
      collect,
    ),
  );
  trace.option("--out <directory>", "where the trace is written");
  addOptions(trace, ["domain", "sampleLength", "samples", "probs", "hidden", "decode", "promptTokens"]);
  addOptions(trace, ["prompts", ...OF_PROMPTS, ...OF_ANSWERS, "resume"]);
  addOptions(trace, [...MODEL_OPTIONS.filter((name) => name !== "ctxSize"), "model", "json", "quiet", "verbose"]);
  trace.action((argument: string | undefined) => {
    const settings = settingsOf(trace);
    if (settings.prompts === undefined) {
      refuseOptions(trace, OF_PROMPTS, "is for prompts: give them with --prompts FILE instead of texts.");
      if (settings.decode === undefined)
        refuseOptions(
          trace,
          [...OF_ANSWERS, "promptTokens"],
          "is for what the model generates, and texts are given whole: add --decode TOKENS.",
        );
    }
    return record(argument, settings);
  });
}

async function record(argument: string | undefined, settings: Settings): Promise<void> {
  const model = modelPath(argument, settings);
  const directory = settings.out;
  if (directory === undefined) throw new UsageError("Say where the trace is written with --out DIR.");
  const texts = settings.prompts === undefined ? textFiles(settings) : undefined;
  const quiet = settings.quiet ?? false;
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  let reached: RecordingProgress | undefined;
  const drawn = texts === undefined ? await drawPrompts(settings, stop.signal) : undefined;
  const options: RecordTraceOptions = {
    ...recordingOptions(model, settings),
    ...(texts === undefined ? {} : { texts }),
    ...(drawn === undefined ? {} : { prompts: drawn.prompts, promptFormat: drawn.format, notes: drawn.notes }),
    directory,
    signal: stop.signal,
    onLoad: (done, total) => status.progress("loading", done, total),
    onProgress: (progress) => {
      if (reached === undefined) status.clear();
      reached = progress;
      status.progress(sampleText(progress), progress.tokens, progress.plannedTokens, TOKENS);
    },
  };
  try {
    const summary = await recordTrace(options);
    status.clear();
    if (settings.json) process.stdout.write(`${JSON.stringify(recordingDocument(summary, options, drawn))}\n`);
    else process.stdout.write(`${recordingTable(summary)}\n`);
    if (!quiet && !settings.json)
      for (const note of [...(drawn?.warnings ?? []), ...summary.notes]) process.stderr.write(`note: ${note}\n`);
  } catch (error) {
    status.clear();
    if (stop.signal.aborted && reached !== undefined) process.stderr.write(`${keptText(reached, directory)}\n`);
    throw error;
  }
}

/** @throws UsageError */
function textFiles({ text, domain }: Settings): TextFile[] {
  if (text === undefined)
    throw new UsageError("No text. Give files with --text FILE..., one or more, or prompts with --prompts FILE.");
  if (domain !== undefined && domain.length !== text.length)
    throw new UsageError(
      `There are ${text.length} texts but ${domain.length} labels with --domain. Give one for each.`,
    );
  return text.map((given, i): TextFile => {
    const { path, label } = labelledFile(given);
    if (label === undefined) return domain === undefined ? { path } : { path, domain: domain[i] };
    if (domain !== undefined) throw new UsageError(`Label ${given} here or with --domain, not both.`);
    return { path, domain: label };
  });
}

function recordingOptions(model: string, settings: Settings): Omit<RecordTraceOptions, "texts" | "directory"> {
  const { ctxSize: _, ...engine } = settings;
  const { sampleLength, samples, probs, hidden, resume } = settings;
  return {
    model,
    ...openOptions(model, engine),
    ...(sampleLength === undefined ? {} : { sampleLength }),
    ...(samples === undefined ? {} : { samples }),
    probs: probs ?? false,
    hidden: hidden ?? false,
    resume: resume ?? false,
    ...(settings.decode === undefined && settings.prompts === undefined ? {} : { generate: generation(settings) }),
  };
}

function generation(settings: Settings): RecordGeneration {
  const { lengths, temp, topK, topP, minP, seed, ignoreEos } = settings;
  const { decode = lengths?.outputTokens, promptTokens = lengths?.promptTokens } = settings;
  return {
    ...(decode === undefined ? {} : { tokens: decode }),
    ...(promptTokens === undefined ? {} : { promptTokens }),
    ...(temp === undefined ? {} : { temperature: temp }),
    ...(topK === undefined ? {} : { topK }),
    ...(topP === undefined ? {} : { topP }),
    ...(minP === undefined ? {} : { minP }),
    // A random one could not be drawn again when the recording is resumed.
    seed: seed === undefined || seed === -1 ? 0 : seed,
    ignoreEndOfGeneration: ignoreEos ?? lengths !== undefined,
  };
}

function sampleText({ samples, plannedSamples }: RecordingProgress): string {
  return `sample ${Math.min(samples + 1, plannedSamples)} of ${plannedSamples}`;
}

function keptText({ samples, plannedSamples }: RecordingProgress, directory: string): string {
  return samples === 0
    ? "No sample was finished."
    : `${samples} of ${plannedSamples} samples are in ${directory}; the same command with --resume goes on from there.`;
}

function tokensPerSecond({ tokensNow, recordingMs }: RecordingSummary): number {
  return tokensNow === 0 ? 0 : (1000 * tokensNow) / recordingMs;
}

function recordingDocument(summary: RecordingSummary, options: RecordTraceOptions, drawn: DrawnPrompts | undefined) {
  const { model, texts = [], sampleLength, samples, probs, hidden, generate, memory, expertMemory, policy } = options;
  return {
    ...summary,
    tokensPerSecond: tokensPerSecond(summary),
    meanLoss: summary.meanLoss ?? null,
    peakRssBytes: summary.peakRssBytes ?? null,
    config: {
      model,
      texts,
      prompts: drawn?.config ?? null,
      sampleLength,
      samples: samples ?? null,
      probs,
      hidden,
      generate: generate ?? null,
      memory: memory ?? (expertMemory === undefined ? "auto" : null),
      expertMemory: expertMemory ?? null,
      policy,
    },
  };
}

function recordingTable(summary: RecordingSummary): string {
  const { samples, tokens, directory, domains, recordingMs, meanLoss, resident, microBatchTokens } = summary;
  const rows = [
    ["samples", `${samples}: ${domains.map(({ domain, samples: count }) => `${domain} ${count}`).join(", ")}`],
    ["tokens", tokens.toLocaleString("en-US")],
    ["speed", `${TOKENS.rate(tokensPerSecond(summary))}, ${formatMs(recordingMs)}`],
    ["batches", `up to ${microBatchTokens} tokens, ${resident ? "all experts in memory" : "experts streamed"}`],
    ...(meanLoss === undefined ? [] : [["loss", `${meanLoss.toFixed(4)} nats a token`]]),
  ];
  return `${directory}\n${alignColumns(rows)}`;
}
