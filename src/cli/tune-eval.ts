/**
 * `warmset tune eval MODEL`: base against tuned routers, cache-prior routing and controls on the same text, with the gates that
 * decide whether to ship; with `--live` on the engine too.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { type Command, Option } from "commander";
import type { EvaluationJob, EvaluationResult, RouterVariant } from "../tune/eval/evaluation.ts";
import type { LiveSettings } from "../tune/eval/live.ts";
import { addOptions, MODEL_OPTIONS, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { stopSignal } from "./interruption.ts";
import { labelledFile } from "./labelled-file.ts";
import { modelPath } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine } from "./status-line.ts";
import { evaluationText } from "./tune-eval-text.ts";
import {
  commandLine,
  decimal,
  decimals,
  deployOption,
  engineSettings,
  listed,
  percent,
  type TuneSettings,
  textFiles,
  textOption,
} from "./tune-options.ts";

interface EvalSettings extends Omit<TuneSettings, "router" | "cacheBias"> {
  readonly router?: readonly string[];
  readonly scales?: readonly number[];
  readonly cacheBias?: readonly number[];
  readonly combine?: boolean;
  readonly random?: boolean;
  readonly decode?: number;
  readonly warm?: boolean;
  readonly live?: boolean;
  readonly liveCache?: number;
  readonly liveTokens?: number;
  readonly liveRequests?: number;
  readonly liveModel?: string;
}

const TOKENS = {
  amount: (tokens: number) => `${tokens.toLocaleString("en-US")} tokens`,
  rate: (perSecond: number) => `${perSecond.toFixed(0)} tokens/s`,
};
/** The paper's prompts are as long as these; a document's start stands for one. */
const PROMPT_TOKENS = 32;

export function addTuneEvalCommand(tune: Command): void {
  const command = tune
    .command("eval")
    .argument("[MODEL]")
    .description("compare tuned routers with the model's own, and judge whether they should ship");
  const option = (flags: string, text: string) => new Option(flags, text);
  for (const own of [
    option("--router <[label=]file@scale...>", "tuned routers, each with a label and a scale if wanted").argParser(
      listed,
    ),
    option("--scales <numbers>", "every router at each of these scales").argParser(decimals(0)),
    textOption(),
    option("--cache-bias <lambdas>", "also cache-prior routing, such as 0.05,0.1,0.2,0.4").argParser(decimals(0, 1)),
    option("--combine", "also cache-prior routing on top of each router"),
    option("--random", "also a random change of the gates that strays as far as the first router"),
    option("--decode <tokens>", "also what each variant goes on with from the start of each document").argParser(
      wholeNumber(1),
    ),
    option("--temp <number>", "for that: temperature; 0: always the most likely token")
      .argParser(decimal(0))
      .default(0),
    deployOption(),
    option("--warm", "caches go on from document to document; slower, one document at a time"),
    option("--live", "also run the engine: time and bytes of a token"),
    option("--live-model <file>", "for that: the model, of the same routers (default: the model, inflated if small)"),
    option("--live-cache <percent>", "for that: cache, of all experts").argParser(percent).default(0.25),
    option("--live-requests <count>", "for that: documents").argParser(wholeNumber(1)).default(4),
    option("--live-tokens <count>", "for that: tokens of each").argParser(wholeNumber(8)).default(96),
    option("--runs <count>", "for that: repetitions, in turns").argParser(wholeNumber(1)).default(3),
    option("-s, --seed <number>", "of what is drawn").argParser(wholeNumber(0)).default(1),
    option("--out <file>", "keep the result there, as JSON"),
    option("--html <file>", "write the report as one HTML file"),
  ])
    command.addOption(own);
  addOptions(command, ["sampleLength", "samples", "promptTokens"]);
  const engine = MODEL_OPTIONS.filter((name) => !["ctxSize", "router", "routerScale"].includes(name));
  addOptions(command, [...engine, "model", "json", "quiet", "verbose"]);
  command.action((argument: string | undefined) =>
    run(argument, settingsOf(command) as Omit<Settings, "router" | "cacheBias"> as EvalSettings),
  );
}

async function run(argument: string | undefined, settings: EvalSettings): Promise<void> {
  const model = modelPath(argument, settings.model === undefined ? {} : { model: settings.model });
  const job = evaluationJob(model, settings);
  const { quiet = false, html, out } = settings;
  using stop = stopSignal();
  const { signal } = stop;
  using status = new StatusLine({ quiet });
  const { evaluateRouters } = await import("../tune/run/in-process.ts");
  const compared = await evaluateRouters(job, {
    signal,
    onLoad: (done, total) => status.progress("loading", done, total),
    onProgress: ({ variant, tokens, plannedTokens }) => status.progress(variant, tokens, plannedTokens, TOKENS),
  });
  status.clear();
  const measured = settings.live ? await live(compared, job, settings, signal, quiet) : compared;
  const result: EvaluationResult = { ...measured, command: commandLine(process.argv.slice(2)) };
  if (out !== undefined) writeFileSync(out, `${JSON.stringify(result)}\n`);
  if (html !== undefined) {
    const { renderTuneHtml } = await import("../report/tune-report.ts");
    writeFileSync(html, renderTuneHtml(result));
  }
  process.stdout.write(`${settings.json ? JSON.stringify(result) : evaluationText(result)}\n`);
  if (!quiet && !settings.json) for (const note of result.notes) process.stderr.write(`note: ${note}\n`);
}

async function live(
  result: EvaluationResult,
  job: EvaluationJob,
  settings: EvalSettings,
  signal: AbortSignal,
  quiet: boolean,
): Promise<EvaluationResult> {
  const { measureLive } = await import("../tune/eval/live.ts");
  const options: LiveSettings = {
    ...{ runs: settings.runs ?? 3, cacheShare: settings.liveCache ?? 0.25 },
    ...{ requests: settings.liveRequests ?? 4, tokens: settings.liveTokens ?? 96 },
    ...{ threads: settings.threads ?? availableParallelism(), modelPath: settings.liveModel, signal },
    onProgress: (text) => {
      if (!quiet) process.stderr.write(`${text}\n`);
    },
  };
  return await measureLive(result, job, options);
}

/** @throws UsageError, ByteSizeError, GgufError */
function evaluationJob(model: string, settings: EvalSettings): EvaluationJob {
  const { sampleLength = 512, samples, decode, promptTokens = PROMPT_TOKENS, temp = 0, deploy = 0.5 } = settings;
  const routers = routerVariants(settings);
  const cacheBias = settings.cacheBias ?? [];
  if (routers.length === 0 && cacheBias.length === 0)
    throw new UsageError("Nothing to compare: give tuned routers with --router FILE, or --cache-bias LAMBDAS.");
  if (settings.random && routers.length === 0)
    throw new UsageError("--random strays as far as the first router: give one with --router.");
  return {
    ...{ model, routers, cacheBias, combine: settings.combine ?? false, random: settings.random ?? false },
    text: { kind: "texts", texts: textFiles(settings, ""), documentTokens: sampleLength, documents: samples },
    generate: decode === undefined ? undefined : { promptTokens, tokens: decode, temperature: temp },
    ...{
      cacheShare: deploy,
      warmCaches: settings.warm ?? false,
      seed: settings.seed ?? 1,
      engine: engineSettings(model, settings),
    },
  };
}

/** @throws UsageError for names that are given twice */
function routerVariants({ router = [], scales }: EvalSettings): RouterVariant[] {
  const variants = router.flatMap((given): RouterVariant[] => {
    const { path: file, label } = labelledFile(given);
    const [, own, scale] = /^(.*)@(\d+(?:\.\d+)?)$/.exec(file) ?? [undefined, file, undefined];
    const name = label ?? path.parse(own).name;
    const wanted = scale === undefined ? (scales ?? [1]) : [Number(scale)];
    const single = wanted.length === 1 && wanted[0] === 1;
    return wanted.map((at) => ({ name: single ? name : `${name} @${at}`, path: own, scale: at }));
  });
  const names = variants.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UsageError(`Two routers are called ${twice}: label them, such as --router a=FILE.`);
  return variants;
}
