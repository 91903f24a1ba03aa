/**
 * Every option of every command, with llama.cpp's spellings where it has them, and the one place that reads the
 * environment: `--ctx-size` is also `WARMSET_CTX_SIZE`, and so on for each. The command line wins over the environment.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { MAP_ENCODINGS, type MapEncoding, type RecordMode } from "../maps/index.ts";
import { policyNames } from "../policy/by-name.ts";
import { RECORD_MODES } from "../policy/finemoe/options.ts";
import { splitPolicyNames } from "../policy/policy-switches.ts";
import { PREDICTOR_KINDS, type PredictorKind } from "../predict/router-predictor.ts";
import { TRAINING_DEFAULTS } from "../predict/training-defaults.ts";
import { DEFAULT_ALWAYS_KEEP } from "../routing/cache-bias.ts";
import type { RequestLengths } from "../workload/request-lengths.ts";
import { UsageError } from "./failure.ts";
import { collect, decimal, LENGTH_NAMES, numbers, requestLengths, weights, wholeNumber } from "./option-values.ts";

/**
 * What the options of a command came to. A field is undefined when neither the command line nor the environment says
 * and there is no default.
 */
export interface Settings {
  readonly model?: string;
  readonly prompt?: string;
  readonly raw?: boolean;
  readonly chatTemplateFile?: string;
  readonly predict?: number;
  readonly ctxSize?: number;
  readonly ubatchSize?: number;
  readonly threads?: number;
  readonly memory?: string;
  readonly expertMemory?: string;
  readonly policy?: string;
  readonly learned?: string;
  readonly backend?: "owned" | "page-cache";
  readonly io?: "auto" | "direct" | "pread";
  readonly temp?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly grammar?: string;
  readonly grammarFile?: string;
  readonly stop?: readonly string[];
  readonly ignoreEos?: boolean;
  readonly disk?: string;
  readonly policies?: readonly string[];
  readonly tokens?: number;
  readonly warmup?: number;
  readonly runs?: number;
  readonly complete?: boolean;
  readonly repack?: boolean;
  readonly text?: readonly string[];
  readonly out?: string;
  readonly domain?: readonly string[];
  readonly sampleLength?: number;
  readonly samples?: number;
  readonly probs?: boolean;
  readonly hidden?: boolean;
  readonly decode?: number;
  readonly promptTokens?: number;
  readonly prompts?: readonly string[];
  readonly split?: "train" | "test" | "all";
  readonly mix?: Readonly<Record<string, number>>;
  readonly requests?: number;
  readonly lengths?: RequestLengths;
  readonly turns?: "first" | "all";
  readonly chat?: boolean;
  readonly skipBad?: boolean;
  readonly resume?: boolean;
  readonly cache?: string;
  readonly diskLatency?: number;
  readonly compute?: number;
  readonly calibrate?: string;
  readonly profile?: string;
  readonly as?: "decode" | "recorded";
  readonly start?: "warm" | "cold";
  readonly workers?: number;
  readonly segment?: readonly number[];
  readonly cacheRatio?: readonly number[];
  readonly phase?: "apart" | "all" | "prefill" | "decode";
  readonly convention?: "token/free" | "layer/miss";
  readonly microBatches?: "token" | "recorded";
  readonly vocabulary?: string;
  readonly html?: string;
  readonly svg?: string;
  readonly png?: string;
  readonly kind?: PredictorKind;
  readonly width?: number;
  readonly stride?: number;
  readonly window?: number;
  readonly epochs?: number;
  readonly maxTokens?: number;
  readonly predictor?: string;
  readonly maps?: string;
  readonly hints?: string;
  readonly cacheBias?: string;
  readonly cacheBiasRule?: string;
  readonly cacheBiasKeep?: number;
  readonly capacity?: number;
  readonly encoding?: MapEncoding;
  readonly record?: RecordMode;
  readonly router?: string;
  readonly routerScale?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** ggml's own limit (GGML_MAX_N_THREADS, ggml/include/ggml.h); far beyond it the system runs out of memory for stacks. */
const MAX_THREADS = 512;

const OPTIONS = {
  model: () => new Option("-m, --model <file>", "model file, instead of the argument MODEL"),
  prompt: () => new Option("-p, --prompt <text>", "the prompt; without it, what is piped in"),
  raw: () => new Option("--raw", "continue the prompt as it is, without the model's chat template"),
  chatTemplateFile: () =>
    new Option("--chat-template-file <file>", "Jinja chat template to use instead of the model's"),
  predict: () =>
    new Option("-n, --predict <tokens>", "tokens to generate at most (default: until the model ends)").argParser(
      wholeNumber(-1),
    ),
  ctxSize: () =>
    new Option(
      "-c, --ctx-size <tokens>",
      "prompt and answer together at most; 0: what the model was trained for (default: that, but at most 4096)",
    ).argParser(wholeNumber(0)),
  ubatchSize: () =>
    new Option(
      "--ubatch-size <tokens>",
      "tokens computed at once at most, also -ub (default: 512, less in a small budget)",
    ).argParser(wholeNumber(1)),
  threads: () =>
    new Option("-t, --threads <count>", "threads that compute (default: all cores)").argParser(
      wholeNumber(1, MAX_THREADS),
    ),
  memory: () =>
    new Option(
      "--memory <size>",
      "memory for everything: 6GiB, 50% (of the model file), auto (what is free), all (default: auto)",
    ),
  expertMemory: () =>
    new Option("--expert-memory <size>", "memory for experts alone instead: 4GiB, 50% (of all experts), all"),
  policy: () =>
    new Option("--policy <name>", `what stays in memory: ${policyNames().join(", ")}`).default(DEFAULT_POLICY),
  learned: () =>
    new Option(
      "--learned <file>",
      "where a policy that learns keeps it for the next run with this model; auto: in the cache folder; off: nowhere",
    ).default("auto"),
  backend: () =>
    new Option("--backend <kind>", "where experts are kept: memory of our own, or the kernel's page cache")
      .choices(["owned", "page-cache"])
      .default("owned"),
  io: () =>
    new Option("--io <kind>", "how experts are read; auto: direct where it works")
      .choices(["auto", "direct", "pread"])
      .default("auto"),
  temp: () =>
    new Option("--temp <number>", "temperature; 0: always the most likely token").argParser(decimal(0)).default(0.8),
  topK: () =>
    new Option("--top-k <count>", "only the k most likely tokens; 0: all").argParser(wholeNumber(0)).default(40),
  topP: () =>
    new Option("--top-p <share>", "only the most likely tokens up to this probability")
      .argParser(decimal(0, 1))
      .default(0.95),
  minP: () =>
    new Option("--min-p <share>", "only tokens with this share of the best one's probability")
      .argParser(decimal(0, 1))
      .default(0.05),
  seed: () =>
    new Option("-s, --seed <number>", "same seed, same text; -1: a random one").argParser(wholeNumber(-1)).default(-1),
  grammar: () => new Option("--grammar <gbnf>", "GBNF grammar that the answer must follow"),
  grammarFile: () => new Option("--grammar-file <file>", "file with such a grammar"),
  stop: () => new Option("--stop <text>", "text that ends the answer; may be given several times").argParser(collect),
  ignoreEos: () => new Option("--ignore-eos", "go on when the model wants to end"),
  disk: () => new Option("--disk <GB/s>", "speed of the drive for the estimate (default: a short probe)"),
  policies: () => new Option("--policies <names>", "policies to compare, comma-separated").argParser(splitPolicyNames),
  tokens: () => new Option("--tokens <count>", "forced tokens of a run").argParser(wholeNumber(1)).default(256),
  warmup: () =>
    new Option("--warmup <count>", "of them before the count starts (default: a quarter)").argParser(wholeNumber(0)),
  runs: () => new Option("--runs <count>", "repetitions of everything").argParser(wholeNumber(1)).default(3),
  complete: () => new Option("--complete", "also cold starts, memory for everything, and runs without prefetch"),
  repack: () => new Option("--no-repack", "let llama.cpp use the weights as they are in the file"),
  text: () =>
    new Option(
      "--text <file>",
      "text whose tokens are forced; may be given several times (default: shipped texts)",
    ).argParser(collect),
  out: () => new Option("--out <file>", "also keep the result there, as JSON"),
  domain: () =>
    new Option(
      "--domain <label...>",
      "labels of the texts, in their order (default: the files' names without ending)",
    ).argParser(collect),
  sampleLength: () =>
    new Option("--sample-length <tokens>", "tokens of a sample").argParser(wholeNumber(2)).default(512),
  samples: () =>
    new Option("--samples <count>", "samples of each text at most (default: all)").argParser(wholeNumber(1)),
  probs: () => new Option("--probs", "keep the routers' probabilities of all experts"),
  hidden: () => new Option("--hidden", "keep the routers' inputs"),
  decode: () =>
    new Option(
      "--decode <tokens>",
      "let the model go on for so many tokens from the start of each sample (default: texts are given whole)",
    ).argParser(wholeNumber(1)),
  promptTokens: () =>
    new Option(
      "--prompt-tokens <tokens>",
      "tokens of each prompt; of --prompts: at most (default: 32 of a text, all of a prompt)",
    ).argParser(wholeNumber(1)),
  prompts: () =>
    new Option(
      "--prompts <[label=]file...>",
      "prompts to record instead of texts: JSON lines or a JSON list, as of ShareGPT, LMSYS-Chat-1M, or our own",
    ).argParser(collect),
  split: () =>
    new Option("--split <side>", "prompts to learn from (70 %, by their content), to test with, or all")
      .choices(["train", "test", "all"])
      .default("all"),
  mix: () =>
    new Option(
      "--mix <weights>",
      "with --requests: shares by label, such as prose=2,python=1 (default: all alike)",
    ).argParser(weights),
  requests: () =>
    new Option("--requests <count>", "prompts to draw, none twice (default: all)").argParser(wholeNumber(1)),
  lengths: () =>
    new Option(
      "--lengths <name>",
      `tokens of prompts (at most) and answers (always): ${LENGTH_NAMES}, or such as 37/127`,
    ).argParser(requestLengths),
  turns: () =>
    new Option("--turns <which>", "of a conversation: the user's first turn, or all up to the user's last one")
      .choices(["first", "all"])
      .default("first"),
  chat: () =>
    new Option("--chat", "give also prompts that are plain texts by the model's chat template, as conversations are"),
  skipBad: () => new Option("--skip-bad", "skip and count records that are no prompts, instead of ending at the first"),
  resume: () => new Option("--resume", "go on with a recording that was interrupted"),
  cache: () =>
    new Option("--cache <sizes>", "sizes of the expert cache, comma-separated: 10% (of all experts), 4000MiB").default(
      "10%,25%,50%",
    ),
  diskLatency: () =>
    new Option("--disk-latency <ms>", "with --disk: time of a request beyond its bytes (default: 0.1)").argParser(
      decimal(0),
    ),
  compute: () =>
    new Option(
      "--compute <ms>",
      "computing of a token with everything in memory (default: as measured by calibrate)",
    ).argParser(decimal(0)),
  calibrate: () =>
    new Option("--calibrate <model>", "measure this machine with a model first, as the command calibrate does"),
  profile: () =>
    new Option(
      "--profile <file>",
      "what was measured of this machine (default: warmset/profile.json in the cache folder)",
    ),
  as: () =>
    new Option(
      "--as <how>",
      "replay every token as a decode step, or passes as recorded (default: decode, unless text was generated)",
    ).choices(["decode", "recorded"]),
  start: () =>
    new Option("--start <state>", "a sample begins with what the one before left in the cache, or with nothing")
      .choices(["warm", "cold"])
      .default("warm"),
  workers: () =>
    new Option("--workers <count>", "threads that work (default: all cores)").argParser(wholeNumber(1, MAX_THREADS)),
  segment: () =>
    new Option("--segment <lengths>", "segment lengths in tokens, comma-separated (default: 4,16,64,256)").argParser(
      numbers,
    ),
  cacheRatio: () =>
    new Option(
      "--cache-ratio <ratios>",
      "cache sizes in multiples of what one token uses, comma-separated (default: 0.5,1,1.5,2,2.5,3,3.5)",
    ).argParser(numbers),
  phase: () =>
    new Option("--phase <which>", "prefill and decode apart, one of them, or all tokens of a sample together")
      .choices(["apart", "all", "prefill", "decode"])
      .default("apart"),
  convention: () =>
    new Option("--convention <name>", "how cache hits are counted: the paper's way, or as a runtime sees them")
      .choices(["token/free", "layer/miss"])
      .default("token/free"),
  microBatches: () =>
    new Option("--micro-batches <how>", "with layer/miss: each token a forward pass of its own, or as recorded")
      .choices(["token", "recorded"])
      .default("token"),
  vocabulary: () =>
    new Option("--vocabulary <file>", "the traced model's file, to show the tokens of specialised experts as text"),
  html: () => new Option("--html <file>", "write the report as one HTML file"),
  svg: () => new Option("--svg <dir>", "write the figures there as SVG files"),
  png: () => new Option("--png <dir>", "write the figures there as PNG files"),
  kind: () =>
    new Option("--kind <kind>", "a predictor with one layer of inner units, or one matrix")
      .choices(PREDICTOR_KINDS)
      .default("mlp"),
  width: () =>
    new Option("--width <units>", `inner units of each pair of layers (default: ${TRAINING_DEFAULTS.width})`).argParser(
      wholeNumber(1, 65_536),
    ),
  stride: () =>
    new Option("--stride <layers>", "layers skipped between an input and the nearest layer it predicts")
      .argParser(wholeNumber(0))
      .default(TRAINING_DEFAULTS.stride),
  window: () =>
    new Option("--window <layers>", "successive layers predicted from one input")
      .argParser(wholeNumber(1))
      .default(TRAINING_DEFAULTS.window),
  epochs: () =>
    new Option("--epochs <count>", "passes over the training tokens")
      .argParser(wholeNumber(1))
      .default(TRAINING_DEFAULTS.epochs),
  maxTokens: () =>
    new Option("--max-tokens <count>", "tokens of the trace to use at most, whole samples")
      .argParser(wholeNumber(1))
      .default(TRAINING_DEFAULTS.maxTokens),
  maps: () => new Option("--maps <file>", "for the policy finemoe: what the command maps has written for this model"),
  hints: () =>
    new Option("--hints <file>", "where it is kept what prompts use, for when they come again (default: nowhere)"),
  capacity: () => new Option("--capacity <rows>", "maps at most").argParser(wholeNumber(1, 1 << 20)).default(1000),
  encoding: () =>
    new Option("--encoding <kind>", "how values are kept: 4, 2 or 1 bytes each").choices(MAP_ENCODINGS).default("f32"),
  record: () =>
    new Option("--record <mode>", "what of a forward pass of several tokens becomes a map")
      .choices(RECORD_MODES)
      .default("token"),
  cacheBias: () =>
    new Option(
      "--cache-bias <strength>",
      "LOSSY, the text changes: route to experts in memory if their scores are close; 0.05 is little, 0.2 much, " +
        "auto or auto:NATS keeps the mean route KL below a bound (default: off)",
    ),
  cacheBiasRule: () =>
    new Option(
      "--cache-bias-rule <rule>",
      "lossy too, which of them: prior (with a strength), max-rank:RANKS, or cumulative-mass:SHARE (default: prior)",
    ),
  cacheBiasKeep: () =>
    new Option(
      "--cache-bias-keep <count>",
      `best experts of a token that are used in any case (default: ${DEFAULT_ALWAYS_KEEP})`,
    ).argParser(wholeNumber(0)),
  predictor: () =>
    new Option("--predictor <file>", "for the policy promoe: what train-predictor has written for this model"),
  router: () =>
    new Option(
      "--router <file>",
      "tuned routers in the place of the model's own, in memory only: what warmset tune has written for this model",
    ),
  routerScale: () =>
    new Option(
      "--router-scale <number>",
      "with --router: how far to go from the model's own routers (0) to the tuned ones (1) (default: 1)",
    ).argParser(decimal(0)),
  json: () => new Option("--json", "print one JSON document on stdout"),
  quiet: () => new Option("-q, --quiet", "say nothing on stderr but errors"),
  verbose: () => new Option("-v, --verbose", "show llama.cpp's log, and stack traces of errors"),
} satisfies Record<keyof Settings, () => Option>;

/** llama.cpp's spellings that commander cannot declare: it knows single letters and one long name. */
const ALIASES: Readonly<Record<string, string>> = {
  "-ub": "--ubatch-size",
  "--n-predict": "--predict",
  "--temperature": "--temp",
};

/** The arguments with llama.cpp's other spellings replaced by ours. */
export function normalizeArguments(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((arg, i) => {
    if (end >= 0 && i > end) return arg;
    const [name = "", ...value] = arg.split("=");
    const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined;
    return known === undefined ? arg : [known, ...value].join("=");
  });
}

/** Options that every command of a running model has. */
export const MODEL_OPTIONS = [
  "memory",
  "expertMemory",
  "policy",
  "ctxSize",
  "threads",
  "ubatchSize",
  "backend",
  "io",
  "router",
  "routerScale",
] as const satisfies readonly (keyof Settings)[];

/** Lossy, so only commands that answer a user have them. */
export const CACHE_BIAS_OPTIONS = [
  "cacheBias",
  "cacheBiasRule",
  "cacheBiasKeep",
] as const satisfies readonly (keyof Settings)[];

export const SAMPLING_OPTIONS = [
  "predict",
  "temp",
  "topK",
  "topP",
  "minP",
  "seed",
  "stop",
  "ignoreEos",
  "grammar",
  "grammarFile",
  "chatTemplateFile",
] as const satisfies readonly (keyof Settings)[];

export function addOptions(command: Command, names: readonly (keyof Settings)[]): Command {
  for (const name of names) command.addOption(OPTIONS[name]());
  return command;
}

/**
 * What a command was told, by its line and by the environment.
 * @throws UsageError for a variable that cannot be understood, or for a memory budget given twice
 */
export function settingsOf(command: Command, environment: NodeJS.ProcessEnv = process.env): Settings {
  for (const option of command.options) {
    const name = environmentName(option);
    const text = environment[name];
    const attribute = option.attributeName();
    if (text === undefined || text === "" || command.getOptionValueSource(attribute) === "cli") continue;
    command.setOptionValueWithSource(attribute, environmentValue(option, name, text), "env");
  }
  return withOneBudget(command);
}

/**
 * For options that would be ignored beside what else was said. A variable of the environment is for all commands, so it may
 * mean nothing to one; on the command line an option is meant.
 * @throws UsageError
 */
export function refuseOptions(command: Command, names: readonly string[], why: string): void {
  for (const option of command.options)
    if (names.includes(option.attributeName()) && command.getOptionValueSource(option.attributeName()) === "cli")
      throw new UsageError(`${option.long} ${why}`);
}

function environmentName(option: Option): string {
  return `WARMSET_${(option.long ?? "").slice(2).replaceAll("-", "_").toUpperCase()}`;
}

const YES = ["1", "true", "yes", "on"];
const NO = ["0", "false", "no", "off"];

function environmentValue(option: Option, name: string, text: string): unknown {
  if (option.isBoolean() || option.negate) {
    const yes = YES.includes(text.toLowerCase());
    if (!yes && !NO.includes(text.toLowerCase())) throw new UsageError(`${name}=${text}: write 1 or 0.`);
    return yes !== option.negate;
  }
  try {
    return option.parseArg === undefined ? text : option.parseArg(text, undefined);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new UsageError(`${name}=${text}: ${error.message}`);
  }
}

/** The two kinds of budget exclude each other; one on the line silences one in the environment. */
function withOneBudget(command: Command): Settings {
  const settings = command.opts<Settings>();
  const { memory, expertMemory, ...rest } = settings;
  if (memory === undefined || expertMemory === undefined) return settings;
  const source = command.getOptionValueSource("memory");
  if (source === command.getOptionValueSource("expertMemory"))
    throw new UsageError("Give --memory (everything) or --expert-memory (experts alone), not both.");
  return source === "cli" ? { ...rest, memory } : { ...rest, expertMemory };
}
