/**
 * `warmset tune MODEL`: tunes a model's routers and writes the adapter, with the estimate first, progress on stderr, and what it
 * brought on text that nothing was tuned on.
 */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { type ResidencyTarget, type RoutingWeights, START_WEIGHTS } from "../tune/objective/index.ts";
import type { FullSettings, TuneMethod, TuningJob, TuningProgress, TuningText } from "../tune/run/tuning-job.ts";
import { addOptions, MODEL_OPTIONS, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { formatShare } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine } from "./status-line.ts";
import {
  decimal,
  decimals,
  deployOption,
  engineSettings,
  percent,
  type TuneSettings,
  textFiles,
  textOption,
} from "./tune-options.ts";
import { summaryText, tuningDocument } from "./tuning-text.ts";

type Objective = "remoe" | "remoe+";

interface RunSettings extends TuneSettings {
  readonly method?: TuneMethod;
  readonly trace?: string;
  readonly objective?: Objective;
  readonly budget?: number;
  readonly klBudget?: number;
  readonly softness?: number;
  readonly fixedTrust?: boolean;
  readonly steps?: number;
  readonly sweeps?: number;
  readonly mu?: readonly number[];
  readonly lambda?: Partial<RoutingWeights>;
  readonly promptWeight?: number;
  readonly residency?: ResidencyTarget["kind"];
  readonly task?: "ce" | "kd" | "half" | "none";
  readonly lr?: number;
  readonly lrDecay?: "none" | "cosine";
  readonly ignoreCollapse?: boolean;
  readonly lrWarmup?: number;
  readonly localityWarmup?: number;
  readonly stepTokens?: number;
  readonly sequenceTokens?: number;
  readonly couple?: boolean;
  readonly heldOut?: number;
  readonly checkpoint?: string;
  readonly eval?: boolean;
}

const METHODS: readonly TuneMethod[] = ["full", "local", "closed-form"];
const STEPS = { local: 400, "closed-form": 0 };

interface FullDefaults
  extends Pick<FullSettings, "weights" | "adaptTrust" | "task" | "decay" | "steps" | "stepTokens"> {
  readonly klBudget: number | undefined;
  readonly lr: number;
  /** Of the steps, at most: warm-ups of the learning rate and of locality. */
  readonly warmupShare: number;
}

/**
 * What `full` takes where nothing else is given. Of remoe+ as measured on the demo model: of all terms the overlap, whose
 * weight follows the KL of the predictions; balance, without which first layers collapse; and a little trust for the experts
 * that distillation does not see because they were not chosen. The budget leaves room to the limit of 0.02 for other text.
 */
const FULL: Readonly<Record<Objective, FullDefaults>> = {
  remoe: {
    ...{ weights: START_WEIGHTS, adaptTrust: true, klBudget: undefined, task: "ce", lr: 5e-5, decay: false },
    ...{ steps: 200, stepTokens: 4096, warmupShare: 0.25 },
  },
  "remoe+": {
    weights: { trust: 0.5, reuse: 0, smooth: 0, lag: 0, windowEntropy: 0, overlap: 0.5, balance: 0.1 },
    ...{ adaptTrust: false, klBudget: 0.018, task: "kd", lr: 5e-4, decay: true },
    ...{ steps: 400, stepTokens: 2048, warmupShare: 0.1 },
  },
};
/** The paper's warm-ups are 200 steps of 2,000; a short probe must not end while it warms up (`warmupShare`). */
const WARMUP_STEPS = 200;
/** MELINOE's (arXiv 2602.11192). */
const SOFT_CACHE_DECAY = 0.9;

const TOKENS = {
  amount: (tokens: number) => `${tokens.toLocaleString("en-US")} tokens`,
  rate: (perSecond: number) => `${perSecond.toFixed(0)} tokens/s`,
};
const TRAINING_STEPS = {
  amount: (steps: number) => `${steps}`,
  rate: (perSecond: number) => `${perSecond.toFixed(perSecond < 1 ? 3 : 1)} steps/s`,
};

/** Makes tuning what `tune` does with a model; its subcommands are added elsewhere. */
export function addTuneRunning(tune: Command): void {
  const option = (flags: string, text: string) => new Option(flags, text);
  // Options behind a subcommand's name are that subcommand's, also where they have the same name.
  tune.enablePositionalOptions().argument("[MODEL]");
  for (const own of [
    option("--out <file>", "where the tuned routers go: a LoRA adapter (.gguf) or whole matrices (.safetensors)"),
    option("--method <name>", "end to end, on captured router inputs, or by a linear system")
      .choices(METHODS)
      .default("closed-form"),
    textOption(),
    option("--trace <dir>", "a recorded trace to tune on instead, with --hidden or at least with its tokens"),
    option("--budget <nats>", "delta: mean KL of a layer's distribution from the frozen gate's")
      .argParser(decimal(0))
      .default(0.02),
    option(
      "--kl-budget <nats>",
      "full: KL of the predictions that locality's weights follow (default: remoe+ 0.018)",
    ).argParser(decimal(Number.MIN_VALUE)),
    option("--objective <name>", "the paper's, or ours: distillation, and locality nearer to what a cache sees")
      .choices(["remoe", "remoe+"])
      .default("remoe"),
    option(
      "--steps <count>",
      `steps (default: ${FULL.remoe.steps} of full, ${FULL["remoe+"].steps} with remoe+; ${STEPS.local} a layer of local)`,
    ).argParser(wholeNumber(1)),
    option("--sweeps <count>", "local, closed-form: capture and tune so many times")
      .argParser(wholeNumber(1))
      .default(2),
    option("--mu <numbers>", "closed-form: weights of nearness, of which each layer takes the best within its budget")
      .argParser(decimals(Number.MIN_VALUE))
      .default([32, 16, 8, 4, 2], "32,16,8,4,2"),
    option(
      "--lambda <weights>",
      "of the terms, such as reuse=0.1,smooth=0.05,lag=0.05,window=0.01,overlap=0,balance=0,trust=1",
    ).argParser(lambdas),
    option("--fixed-trust", "keep the weight of trust instead of following the budget"),
    option("--window <tokens>", "tokens of a block of the window term").argParser(wholeNumber(1)).default(32),
    option("--softness <logits>", "of the overlap term: differences of logits that count as even")
      .argParser(decimal(0.001))
      .default(0.15),
    option("--prompt-weight <share>", "weight of a prompt's tokens in the locality terms")
      .argParser(decimal(0, 1))
      .default(0.3),
    option("--residency <target>", "what the reuse term calls resident (default: previous; of remoe+ lru)").choices([
      "previous",
      "lru",
      "soft-cache",
    ]),
    option("--task <loss>", "full: cross-entropy, distillation from the base, half of each, or none").choices([
      "ce",
      "kd",
      "half",
      "none",
    ]),
    option("--lr <rate>", "full: of AdamW; from 1e-3 on it destroys models (default: 5e-5, remoe+ 5e-4)").argParser(
      decimal(0),
    ),
    option("--lr-decay <curve>", "full: to the last step (default: none, remoe+ cosine)").choices(["none", "cosine"]),
    option("--lr-warmup <steps>", "full: (default: 200, at most a quarter of the steps; remoe+ a tenth)").argParser(
      wholeNumber(0),
    ),
    option("--locality-warmup <steps>", "full: (default: the same)").argParser(wholeNumber(0)),
    option("--step-tokens <count>", "full: tokens of a step (default: 4096, remoe+ 2048)").argParser(wholeNumber(8)),
    option("--sequence-tokens <count>", "full: tokens of a sequence").argParser(wholeNumber(8)).default(256),
    option("--ignore-collapse", "full: go on where routing collapses, for ablations"),
    option("--couple", "full: locality terms also move the gates of earlier layers"),
    deployOption(),
    option("--held-out <percent>", "documents to measure on, and to choose by").argParser(percent).default(0.2),
    option("--checkpoint <dir>", "keep what is done there, to go on from with --resume"),
    option("--resume", "go on from the checkpoint of the same command"),
    option("-s, --seed <number>", "of everything that is drawn: the same seed, the same routers")
      .argParser(wholeNumber(0))
      .default(1),
    option("--no-eval", "do not measure the result"),
  ])
    tune.addOption(own);
  addOptions(tune, ["sampleLength", "samples", "decode", "promptTokens", "temp", "topK", "topP", "minP", "ignoreEos"]);
  const engine = MODEL_OPTIONS.filter((name) => !["ctxSize", "router", "routerScale"].includes(name));
  addOptions(tune, [...engine, "model", "json", "quiet", "verbose"]);
  tune.action((argument: string | undefined) => run(argument, settingsOf(tune)));
}

async function run(argument: string | undefined, settings: RunSettings): Promise<void> {
  const model = modelPath(argument, settings);
  const job = tuningJob(model, settings);
  const { quiet = false } = settings;
  const { tuneRouters } = await import("../tune/run/in-process.ts");
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  let step = "";
  try {
    const summary = await tuneRouters(job, {
      signal: stop.signal,
      onLoad: (done, total) => {
        if (step !== "loading") status.clear();
        step = "loading";
        status.progress("loading", done, total);
      },
      onEstimate: ({ sentences }) => {
        status.clear();
        if (!quiet) for (const sentence of sentences) process.stderr.write(`estimate: ${sentence}\n`);
      },
      onProgress: (progress) => {
        const label = stepText(progress);
        // Its rate has nothing to do with that of the step before.
        if (label.step !== step) status.clear();
        step = label.step;
        if (progress.step === "training") status.progress(label.text, progress.done, progress.of, TRAINING_STEPS);
        else status.progress(label.text, progress.tokens, progress.of, TOKENS);
      },
    });
    status.clear();
    if (settings.json) process.stdout.write(`${JSON.stringify(tuningDocument(summary, job))}\n`);
    else process.stdout.write(`${summaryText(summary, job)}\n`);
    if (!quiet && !settings.json) for (const note of summary.notes) process.stderr.write(`note: ${note}\n`);
  } catch (error) {
    status.clear();
    if (stop.signal.aborted && step !== "")
      process.stderr.write(
        job.checkpoint === undefined
          ? "Nothing was kept. With --checkpoint DIR a run can be gone on from.\n"
          : `What was done is in ${job.checkpoint.directory}; the same command with --resume goes on from there.\n`,
      );
    throw error;
  }
}

/** @throws UsageError, ByteSizeError, GgufError */
function tuningJob(model: string, settings: RunSettings): TuningJob {
  const { out, method = "closed-form", budget = 0.02, objective = "remoe", deploy = 0.5 } = settings;
  if (out === undefined) throw new UsageError("Say where the tuned routers go with --out FILE.gguf.");
  if (!/\.(gguf|safetensors)$/.test(out))
    throw new UsageError(`${out}: name it .gguf for an adapter or .safetensors for whole matrices.`);
  if (settings.resume && settings.checkpoint === undefined)
    throw new UsageError("--resume goes on from a checkpoint: give it with --checkpoint DIR.");
  const ours = FULL[objective];
  const steps = settings.steps ?? (method === "full" ? ours.steps : STEPS[method]);
  const warmup = Math.min(WARMUP_STEPS, Math.ceil(ours.warmupShare * steps));
  const task = settings.task ?? ours.task;
  const klBudget = settings.klBudget ?? (task === "ce" || task === "none" ? undefined : ours.klBudget);
  if (settings.klBudget !== undefined && (method !== "full" || task === "ce" || task === "none"))
    throw new UsageError(
      "--kl-budget needs --method full and a task that distils, such as --objective remoe+ or --task kd.",
    );
  if (settings.lambda !== undefined && method === "closed-form")
    throw new UsageError("closed-form has no weighted terms: its weights of nearness are given with --mu.");
  if (settings.lambda?.balance !== undefined && method !== "full")
    throw new UsageError("balance in --lambda needs --method full: only there is the load of a step's experts known.");
  const terms = {
    temperature: settings.softness ?? 0.15,
    residencyTarget: residencyTarget(model, settings, objective, deploy),
    window: Number(settings.window ?? 32),
    promptWeight: settings.promptWeight ?? 0.3,
  };
  const { stepTokens = ours.stepTokens, sequenceTokens = 256, lr = ours.lr, lrDecay } = settings;
  return {
    ...{ model, method, out, text: tuningText(settings) },
    ...{ heldOutShare: settings.heldOut ?? 0.2, trustBudget: budget, sweeps: settings.sweeps ?? 2 },
    local: {
      ...terms,
      weights: { ...START_WEIGHTS, ...settings.lambda },
      adaptTrust: !(settings.fixedTrust ?? false),
      steps: method === "local" ? steps : STEPS.local,
    },
    full: {
      ...{ ...terms, steps, stepTokens, sequenceTokens, learningRate: lr, task, divergenceBudget: klBudget },
      weights: { ...ours.weights, ...settings.lambda },
      adaptTrust: ours.adaptTrust && !(settings.fixedTrust ?? false),
      decay: lrDecay === undefined ? ours.decay : lrDecay === "cosine",
      ...{ warmupSteps: settings.lrWarmup ?? warmup, warmupLocality: settings.localityWarmup ?? warmup },
      couple: settings.couple ?? false,
      stopOnCollapse: !(settings.ignoreCollapse ?? false),
    },
    ...{ mus: settings.mu ?? [32, 16, 8, 4, 2], cacheShare: deploy },
    checkpoint:
      settings.checkpoint === undefined
        ? undefined
        : { directory: settings.checkpoint, resume: settings.resume ?? false },
    ...{
      evaluate: settings.eval ?? true,
      threads: settings.threads ?? availableParallelism(),
      seed: settings.seed ?? 1,
    },
    engine: engineSettings(model, settings),
  };
}

/** @throws UsageError */
function tuningText(settings: RunSettings): TuningText {
  const { trace, text, sampleLength = 512, samples, decode } = settings;
  if (trace !== undefined) {
    if (text !== undefined) throw new UsageError("Give --text or --trace, not both.");
    return { kind: "trace", directory: trace };
  }
  const { promptTokens, temp = 0.8, topK = 40, topP = 0.95, minP = 0.05, ignoreEos = false } = settings;
  return {
    kind: "texts",
    texts: textFiles(settings, ", or a recorded trace with --trace DIR"),
    documentTokens: sampleLength,
    documents: samples,
    generate:
      decode === undefined
        ? undefined
        : {
            ...{ promptTokens, tokens: decode, ignoreEndOfGeneration: ignoreEos },
            ...{ temperature: temp, topK, topP, minP, seed: settings.seed ?? 1 },
          },
  };
}

function residencyTarget(
  model: string,
  { residency }: RunSettings,
  objective: Objective,
  deploy: number,
): ResidencyTarget {
  const kind = residency ?? (objective === "remoe" ? "previous" : "lru");
  if (kind === "previous") return { kind };
  const capacity = Math.max(1, Math.round(deploy * readMoeLayout(openGguf(model)).expertsPerLayer));
  return kind === "lru" ? { kind, capacity } : { kind, capacity, decay: SOFT_CACHE_DECAY };
}

function stepText(progress: TuningProgress): { readonly step: string; readonly text: string } {
  switch (progress.step) {
    case "capturing":
    case "tuning": {
      const text = `${progress.step}, sweep ${progress.sweep} of ${progress.sweeps}`;
      return { step: text, text };
    }
    case "training": {
      const { crossEntropy, eor, trustKl, divergence } = progress;
      const kl = divergence === undefined ? "" : `, KL ${divergence.toFixed(4)}`;
      const trust = trustKl === undefined ? "" : `, trust ${trustKl.toFixed(4)}`;
      return {
        step: "training",
        text: `training: loss ${crossEntropy.toFixed(4)}, overlap ${formatShare(eor)}${kl}${trust}`,
      };
    }
    case "measuring":
      return { step: "measuring", text: "measuring" };
    default:
      return progress satisfies never;
  }
}

function lambdas(text: string): Partial<RoutingWeights> {
  const names = {
    trust: "trust",
    reuse: "reuse",
    smooth: "smooth",
    lag: "lag",
    window: "windowEntropy",
    overlap: "overlap",
    balance: "balance",
  } as const;
  const pairs = text.split(",").map((part) => {
    const [name, value] = part.trim().split("=");
    const weight = Number(value);
    if (!Object.hasOwn(names, name) || value === undefined || value === "" || !(weight >= 0))
      throw new InvalidArgumentError(
        `It must be weights from 0 on of ${Object.keys(names).join(", ")}, such as reuse=0.1.`,
      );
    return [names[name as keyof typeof names], weight] as const;
  });
  return Object.fromEntries(pairs);
}
