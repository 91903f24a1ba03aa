/**
 * `warmset train-predictor TRACE --out FILE`: trains a predictor of routing from a trace with the routers' inputs, and prints
 * how well it does on prompts held out, beside what needs no training; and what it costs, to train and to ask.
 */
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { headerHash } from "../gguf/header-hash.ts";
import { openGguf, type RouterWeights, readMoeLayout, readRouterWeights } from "../gguf/index.ts";
import { predictionMs } from "../predict/prediction-speed.ts";
import { savePredictor } from "../predict/predictor-file.ts";
import type { HeadRecall } from "../predict/router-predictor.ts";
import { type TrainingReport, trainPredictor } from "../predict/train-predictor.ts";
import type { TraceDescription } from "../trace/trace.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatBytes, formatMs, formatShare } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath, withoutUndefined } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine, TOKENS } from "./status-line.ts";

export function addTrainPredictorCommand(program: Command): void {
  const command = program
    .command("train-predictor TRACE")
    .description("train a predictor of the next layers' experts from a trace with the routers' inputs")
    .option("--out <file>", "where the predictor is written");
  command.addOption(
    new Option(
      "-m, --model <file>",
      "the traced model: a linear predictor starts from its routers, and they are compared",
    ),
  );
  addOptions(command, ["kind", "width", "stride", "window", "epochs", "maxTokens"]);
  command.addOption(
    new Option("-s, --seed <number>", "same seed, same predictor").argParser(wholeNumber(0)).default(1),
  );
  addOptions(command, ["workers", "json", "quiet", "verbose"]);
  command.action((directory: string) => run(directory, settingsOf(command)));
}

async function run(directory: string, settings: Settings): Promise<void> {
  const file = settings.out;
  if (file === undefined) throw new UsageError("Say where the predictor is written with --out FILE.");
  const { kind, width, stride, window, epochs, maxTokens, seed } = settings;
  if (kind === "linear" && width !== undefined)
    throw new UsageError("--width is of the MLP; a linear predictor has no inner units.");
  const source = await openTrace(directory);
  const notes: string[] = source.unfinished === undefined ? [] : [source.unfinished];
  const routers = settings.model === undefined ? undefined : tracedRouters(settings.model, source.description, notes);
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  let step = "";
  const report = await trainPredictor(source, {
    ...withoutUndefined({ kind, width, stride, window, epochs, maxTokens, seed }),
    routers,
    threads: settings.workers ?? availableParallelism(),
    signal: stop.signal,
    onProgress: (progress) => {
      if (progress.step !== step) status.clear();
      step = progress.step;
      status.progress(progress.step, progress.tokensDone, progress.tokens, TOKENS);
    },
  });
  await savePredictor(file, report.predictor, stop.signal);
  status.clear();
  const costs = predictionMs(report.predictor);
  if (report.targets !== "probabilities")
    notes.push(
      `It imitates the chosen experts' ${report.targets === "weights" ? "weights" : "names"}, not the gates' whole distributions: ` +
        (source.description.columns.probs
          ? "this model's routers choose by more than those."
          : "the trace has none (record with --probs)."),
    );
  if (settings.json)
    process.stdout.write(`${JSON.stringify({ ...trainingDocument(file, directory, report), ...costs, notes })}\n`);
  else process.stdout.write(`${trainingText(file, report, costs)}\n`);
  if (!settings.quiet && !settings.json) for (const note of notes) process.stderr.write(`note: ${note}\n`);
}

/** @throws UsageError when the file is of another model */
function tracedRouters(name: string, { model }: TraceDescription, notes: string[]): RouterWeights | undefined {
  const gguf = openGguf(modelPath(name, {}));
  if (headerHash(gguf) !== model.hash)
    throw new UsageError(
      `--model ${name} is not the traced model, ${model.name} (header ${model.hash?.slice(0, 12)}). Give the file that was recorded.`,
    );
  const routers = readRouterWeights(gguf, readMoeLayout(gguf));
  if (routers === undefined) notes.push("The model's routers are not float32: no look-ahead to start from or compare.");
  return routers;
}

const GUESSES = ["predictor", "nextGate", "previousToken", "popularity"] as const;

/** Means over heads, by distance; null where nothing was measured. */
function byDistance(recall: readonly HeadRecall[]) {
  const distances = [...new Set(recall.map(({ distance }) => distance))].sort((a, b) => a - b);
  return distances.map((distance) => {
    const heads = recall.filter((head) => head.distance === distance);
    const mean = (guess: (typeof GUESSES)[number]): number | null => {
      const value = heads.reduce((sum, head) => sum + head[guess], 0) / heads.length;
      return Number.isNaN(value) ? null : value;
    };
    return {
      distance,
      heads: heads.length,
      ...Object.fromEntries(GUESSES.map((guess) => [guess, mean(guess)] as const)),
    } as { distance: number; heads: number } & Record<(typeof GUESSES)[number], number | null>;
  });
}

function trainingDocument(file: string, trace: string, report: TrainingReport) {
  const { predictor, training, heldOut, targets, readingMs, trainingMs, tokensPerSecond } = report;
  const { model, kind, width, stride, window, recall } = predictor;
  return {
    ...{ file, trace, model, kind, width, stride, window, targets, training, heldOut },
    ...{ readingMs, trainingMs, tokensPerSecond },
    recallByDistance: byDistance(recall),
    recall: recall.map((head) => ({ ...head, nextGate: Number.isNaN(head.nextGate) ? null : head.nextGate })),
  };
}

function trainingText(file: string, report: TrainingReport, costs: ReturnType<typeof predictionMs>): string {
  const { predictor, training, heldOut, trainingMs, tokensPerSecond } = report;
  const { kind, width, heads, model, recall } = predictor;
  const what = kind === "mlp" ? `${width} inner units` : "one matrix";
  const share = (value: number | null) => (value === null ? "-" : formatShare(value));
  const table = [
    ["distance", "heads", kind, "next gate", "token before", "popular"],
    ...byDistance(recall).map(({ distance, heads: count, ...guesses }) => [
      String(distance),
      String(count),
      ...GUESSES.map((guess) => share(guesses[guess])),
    ]),
  ];
  return [
    `${file}: ${heads.length} heads for ${model.name}, ${what} each, ${formatBytes(costs.memoryBytes)} in memory`,
    `  trained on ${training.tokens.toLocaleString("en-US")} tokens of ${training.samples} samples in ${formatMs(trainingMs)}, ${TOKENS.rate(tokensPerSecond)}`,
    `  a prediction takes ${(1000 * costs.predictionMs).toFixed(1)} us`,
    `  experts found among the best ${model.expertsUsed}, on ${heldOut.tokens.toLocaleString("en-US")} tokens of ${heldOut.samples} samples held out:`,
    alignColumns(table, 4),
  ].join("\n");
}
