/**
 * `npm run bench:tune-curves`: bytes and time of a token over quality, for tuned routers, cache-prior routing and both, on the
 * inflated demo model with a part of its experts in memory; and whether both together get down to half of the base's bytes
 * before perplexity has risen by 1 %. An hour of runs: `--resume` goes on where an earlier call stopped.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { readBaseModel, readRouterFile, writeRouterSafetensors } from "../adapter/index.ts";
import { labelledFile } from "../cli/labelled-file.ts";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import type { RouterOption } from "../engine/router-override.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import type { ForcedText } from "../routing/measure-drift.ts";
import { widerRouters } from "../tune/eval/wider-routers.ts";
import { DEMO_MODEL, heldOutTexts, inflatedDemo } from "./bench-model.ts";
import {
  keepResult,
  progress,
  properShare,
  resultFile,
  runBenchProgram,
  textTable,
  wholeNumber,
} from "./bench-program.ts";
import { cutWindows } from "./held-out.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { backMemory } from "./measured-run.ts";
import { dropPageCache } from "./page-cache.ts";
import { runBenchChild } from "./run-child.ts";
import { alternatingOrder } from "./suite-plan.ts";
import { tokenizeTexts } from "./tokenize-texts.ts";
import { curvePoints } from "./tune-curves/curve-points.ts";
import { type CurveVariant, curveVariants } from "./tune-curves/curve-variants.ts";
import type { ForcedFigures, ForcedJob } from "./tune-curves/forced-run-protocol.ts";
import type { CurveRun, CurvesConfiguration, CurvesResult, MeasuredOn, RouterFile } from "./tune-curves/results.ts";
import { worthRunning } from "./tune-curves/unbeaten.ts";
import { judgeCurves } from "./tune-curves/verdict.ts";

const HELP = `Usage: npm run bench:tune-curves -- --router [LABEL=]FILE... [options]

  --router FILE    tuned routers of the demo model, not tuned on the last tokens of the texts; several are several lines
  --scales LIST    (default: 0.25,0.5,0.75,1)
  --lambdas LIST   of cache-prior routing (default: 0.05,0.1,0.2,0.4)
  --share NUMBER   expert memory as a share of all experts (default: 0.25)
  --policy NAME    what stays in memory (default: warmset)
  --text-tokens N  forced tokens that quality is measured on, all domains together (default: 2080)
  --tokens N       forced tokens of a run on the engine (default: 208)
  --rounds N       over all variants on the engine; 0: only quality (default: 3)
  --threads N      (default: all cores)
  --minutes N      begin no run after so many minutes (default: until all are there)
  --resume         keep the runs of the result file, if they were made alike
  --out FILE       where the figures are kept (default: bench/results/tune-curves.json)
  --html FILE      write the curves as one HTML page
  --json           print the figures as JSON
`;

/** The first text's prompt fills the cache. Those of later ones are short: a prompt reads several times what a token does. */
const PROMPT_TOKENS = { first: 8, later: 2 } as const;
/** A run that hangs must not stop a bench of half an hour. */
const TIMEOUT_MS = 15 * 60_000;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      router: { type: "string", multiple: true, default: [] },
      scales: { type: "string", default: "0.25,0.5,0.75,1" },
      lambdas: { type: "string", default: "0.05,0.1,0.2,0.4" },
      share: { type: "string", default: "0.25" },
      policy: { type: "string", default: "warmset" },
      "text-tokens": { type: "string", default: "2080" },
      tokens: { type: "string", default: "208" },
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: String(os.availableParallelism()) },
      minutes: { type: "string" },
      resume: { type: "boolean", default: false },
      out: { type: "string", default: resultFile("tune-curves") },
      html: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const given = values.router.map(labelled);
  if (given.length === 0) throw new Error("Give tuned routers of the demo model with --router FILE, see docs/tune.md");
  const rounds = wholeNumber("--rounds", values.rounds);
  const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : wholeNumber("--minutes", values.minutes, 1);
  const engineModel = await inflatedDemo(signal);
  const texts = cutTexts(
    wholeNumber("--text-tokens", values["text-tokens"], 26),
    wholeNumber("--tokens", values.tokens, 13),
  );
  const configuration: CurvesConfiguration = {
    ...{
      model: path.basename(DEMO_MODEL),
      engineModel: path.basename(engineModel),
      routers: given.map(describeRouter),
    },
    ...{ scales: numbers("--scales", values.scales), lambdas: numbers("--lambdas", values.lambdas) },
    ...{
      cacheShare: properShare("--share", values.share),
      policy: values.policy,
      threads: wholeNumber("--threads", values.threads, 1),
    },
    ...{ domains: texts.all.map(({ domain }) => domain), lastTokens: texts.lastTokens },
    ...{ textTokens: forcedTokens(texts.all), engineTokens: forcedTokens(texts.starts) },
  };
  const { scales, lambdas } = configuration;
  const variants = curveVariants({ routers: given.map(({ label }) => label), scales, lambdas });
  const earlier = values.resume ? readEarlier(values.out, configuration) : undefined;
  const runs: CurveRun[] = [...(earlier?.runs ?? [])];
  const notes = new Set(earlier?.notes ?? []);
  const result = (): CurvesResult => {
    const points = curvePoints(variants, runs);
    return {
      ...{ kind: "tune-curves", warmset: warmsetVersion(), date: new Date().toISOString() },
      machine: describeMachine(),
      command: `npm run bench:tune-curves -- ${process.argv.slice(2).map(withoutFolder).join(" ")}`,
      ...{ configuration, rounds, complete: left().length === 0 },
      ...{ points, verdict: judgeCurves(points), runs, notes: [...notes] },
    };
  };
  const failed = new Set<PlannedRun>();
  const left = () =>
    plannedRuns(variants, rounds, runs).filter(
      (plan) => !runs.some((run) => isOf(run, plan)) && ![...failed].some((other) => isSame(other, plan)),
    );
  const scratch = mkdtempSync(path.join(os.tmpdir(), "tune-curves-"));
  const startedAt = performance.now();
  try {
    const wide = await writeWiderRouters(given, engineModel, scratch);
    for (let done = 1, toDo = left(); toDo.length > 0; done++, toDo = left()) {
      if ((performance.now() - startedAt) / 60_000 > minutes) break;
      const [plan] = toDo;
      const { variant, on, round } = plan;
      const isEngine = on === "engine";
      const files = isEngine ? wide : new Map(given.map(({ label, file }) => [label, file]));
      const model = isEngine ? engineModel : DEMO_MODEL;
      const job: ForcedJob = {
        ...{ baseModel: DEMO_MODEL, model, router: routerOf(variant, files), policy: configuration.policy },
        cacheBias:
          variant.lambda === null
            ? undefined
            : { rule: { kind: "prior", lambda: variant.lambda }, evenOnTheCliff: true },
        cacheShare: configuration.cacheShare,
        // Quality has no stopwatch, and a thread less disturbs whatever else runs.
        threads: isEngine ? configuration.threads : 1,
        microBatchTokens: PROMPT_TOKENS.first,
        texts: isEngine ? texts.starts : texts.all,
      };
      if (isEngine) {
        dropPageCache(model);
        backMemory(Math.floor(configuration.cacheShare * readMoeLayout(openGguf(model)).expertBytesTotal));
      }
      const outcome = await runBenchChild("./tune-curves/forced-run.js", job, {
        ...{ nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS },
      });
      const told = `[${toDo.length} to do] ${isEngine ? `round ${round + 1}` : "text"}, ${variant.name}`;
      if (outcome.status === "failed") {
        failed.add(plan);
        notes.add(`${variant.name} did not run (${on}): ${outcome.reason}`);
        progress(`${told}: failed, ${outcome.reason}`);
        continue;
      }
      const figures = outcome.result as ForcedFigures;
      runs.push({ variant: variant.name, on, round, ...figures });
      keepResult(values.out, result());
      const each = (performance.now() - startedAt) / 60_000 / done;
      progress(
        `${told}: ${(figures.bytesPerToken / 1e6).toFixed(1)} MB and ${figures.msPerToken.toFixed(1)} ms a token, KL ${figures.meanKl.toFixed(4)}; ${((toDo.length - 1) * each).toFixed(0)} min left`,
      );
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
  keepResult(values.out, result());
  if (values.html !== undefined) {
    const { renderCurvesHtml } = await import("./tune-curves/curves-page.ts");
    writeFileSync(values.html, renderCurvesHtml(result()));
  }
  process.stdout.write(values.json ? `${JSON.stringify(result())}\n` : `${table(result())}\n`);
});

interface LabelledRouter {
  readonly label: string;
  readonly file: string;
}

function labelled(text: string): LabelledRouter {
  const { path: file, label = path.parse(file).name } = labelledFile(text);
  return { label, file };
}

function describeRouter({ label, file }: LabelledRouter): RouterFile {
  const { delta } = readRouterFile(file, readBaseModel(DEMO_MODEL));
  const sha256 = createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 16);
  return { label, file: path.basename(file), sha256, method: delta.method };
}

/** The ends of the texts, where tuning on their beginnings has not been; `starts` are the same, cut shorter. */
function cutTexts(textTokens: number, engineTokens: number) {
  const tokens = tokenizeTexts(DEMO_MODEL, heldOutTexts());
  const forced = Math.ceil(textTokens / tokens.length) + 1;
  const lastTokens = PROMPT_TOKENS.first + forced;
  const all: readonly ForcedText[] = cutWindows(
    tokens.map(({ domain, tokens: own }) => ({ domain, tokens: own.subarray(-lastTokens) })),
    {
      ...{ promptTokens: PROMPT_TOKENS.first, laterPromptTokens: PROMPT_TOKENS.later },
      decodeTokens: forced * tokens.length,
    },
  );
  const short = Math.ceil(engineTokens / tokens.length) + 1;
  if (short > forced)
    throw new Error("--tokens cannot be more than --text-tokens: they are the beginnings of the same");
  const starts = all.map((text) => ({ ...text, tokens: text.tokens.slice(0, text.promptTokens + short) }));
  return { all, starts, lastTokens };
}

function forcedTokens(texts: readonly ForcedText[]): number {
  // The last token of a text is only predicted.
  return texts.reduce((sum, { tokens, promptTokens }) => sum + tokens.length - 1 - promptTokens, 0);
}

interface PlannedRun {
  readonly variant: CurveVariant;
  readonly on: MeasuredOn;
  readonly round: number;
}

/** Quality first: it needs no quiet machine, and tells which variants the engine need not run. */
function plannedRuns(variants: readonly CurveVariant[], rounds: number, runs: readonly CurveRun[]): PlannedRun[] {
  const onEngine = worthRunning(curvePoints(variants, runs));
  return [
    ...variants.map((variant) => ({ variant, on: "text" as const, round: 0 })),
    ...Array.from({ length: rounds }, (_, round) =>
      alternatingOrder(onEngine, round).map((variant) => ({ variant, on: "engine" as const, round })),
    ).flat(),
  ];
}

function isSame(a: PlannedRun, b: PlannedRun): boolean {
  return a.variant.name === b.variant.name && a.on === b.on && a.round === b.round;
}

function isOf(run: CurveRun, { variant, on, round }: PlannedRun): boolean {
  return run.variant === variant.name && run.on === on && run.round === round;
}

/** @throws Error when the file's runs cannot stand beside new ones */
function readEarlier(file: string, configuration: CurvesConfiguration): CurvesResult | undefined {
  if (!existsSync(file)) return undefined;
  const earlier = JSON.parse(readFileSync(file, "utf8")) as CurvesResult;
  if (JSON.stringify(earlier.configuration) !== JSON.stringify(configuration))
    throw new Error(`${file} was measured with other settings or routers. Name another file with --out.`);
  return earlier;
}

/** By label: the routers as the inflated model has them. */
async function writeWiderRouters(
  given: readonly LabelledRouter[],
  engineModel: string,
  folder: string,
): Promise<ReadonlyMap<string, string>> {
  const wide = readBaseModel(engineModel);
  const files = new Map<string, string>();
  for (const { label, file } of given) {
    const own = path.join(folder, `${files.size}.safetensors`);
    await writeRouterSafetensors(own, widerRouters(DEMO_MODEL, file, wide));
    files.set(label, own);
  }
  return files;
}

function routerOf({ router, scale }: CurveVariant, files: ReadonlyMap<string, string>): RouterOption | undefined {
  const file = router === null ? undefined : files.get(router);
  return file === undefined ? undefined : { path: file, scale: scale ?? 1 };
}

function numbers(flag: string, text: string): number[] {
  const all = text.split(",").map(Number);
  if (all.some((value) => !(value > 0))) throw new Error(`${flag} takes positive numbers with commas, not "${text}"`);
  return all.sort((a, b) => a - b);
}

/** Folders of a machine are nobody's business in a result. */
function withoutFolder(argument: string): string {
  return argument.replace(/(^|=)\/?(?:[^=/]+\/)+/, "$1");
}

function table({ points, verdict }: CurvesResult): string {
  const percent = (share: number) => (100 * share).toFixed(1);
  const rows = points.map(({ name, meanKl, perplexityChange, perplexityError, textBytesShare, engine }) => [
    ...[name, meanKl.toFixed(4), `${percent(perplexityChange)} ±${percent(perplexityError)}`, percent(textBytesShare)],
    ...(engine === null
      ? ["–", "–", "–", "–", "–"]
      : [
          ...[(engine.bytesPerToken / 1e6).toFixed(1), percent(engine.bytesShare), engine.tpotMs.toFixed(1)],
          ...[percent(engine.hitRate), engine.meanKl.toFixed(4)],
        ]),
  ]);
  const head = [
    "variant",
    "mean KL",
    "perplexity %",
    "bytes of text %",
    "MB/token",
    "of base %",
    "ms/token",
    "hits %",
    "KL",
  ];
  const judged = (verdict?.lines ?? []).map(
    ({ line, best, interpolatedBytesShare }) =>
      `${line}: ${best === null ? "nothing" : `${best.name} reads ${percent(best.bytesShare)} % of the base's bytes (perplexity ${percent(best.perplexityChange)} ±${percent(best.perplexityError)} %)`}; at +1 % between variants: ${interpolatedBytesShare === null ? "–" : `${percent(interpolatedBytesShare)} %`}`,
  );
  const goal =
    verdict === null
      ? []
      : [`at most half of the base's bytes at perplexity +1 %: ${verdict.passed ? "reached" : "not reached"}`];
  return [textTable(head, rows), ...judged, ...goal].join("\n");
}
