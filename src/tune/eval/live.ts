/**
 * The variants of an evaluation on the engine: each in a process of its own, on the same tokens, from a cold page cache, in an
 * order that turns around every round. A small model is inflated first: with everything in memory there is nothing to see.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { readBaseModel, writeRouterSafetensors } from "../../adapter/index.ts";
import { inflatedModel } from "../../bench/inflate.ts";
import { backMemory } from "../../bench/measured-run.ts";
import { dropPageCache } from "../../bench/page-cache.ts";
import { median } from "../../bench/quantile.ts";
import { runBenchChild } from "../../bench/run-child.ts";
import { alternatingOrder } from "../../bench/suite-plan.ts";
import { HOST_NODE_FLAGS } from "../../engine/model-process.ts";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { TuneError } from "../errors.ts";
import { cutTexts } from "./cut-texts.ts";
import type { EvaluationJob, EvaluationResult, GivenDocument } from "./evaluation.ts";
import { inTurnByDomain } from "./in-turn.ts";
import type { LiveFigures } from "./live-figures.ts";
import type { LiveDocument, LiveJob, LiveRun } from "./live-protocol.ts";
import { widerRouters } from "./wider-routers.ts";

export interface LiveSettings {
  /** Rounds over all variants; figures are medians over them. */
  readonly runs: number;
  /** Of all experts. */
  readonly cacheShare: number;
  /** Documents of a run. */
  readonly requests: number;
  /** Tokens of each, its start included. */
  readonly tokens: number;
  readonly threads: number;
  /** Of the same routers. @default the evaluated model, inflated when it is small */
  readonly modelPath: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/** Below, a model's experts are in any page cache. */
const SMALL_BYTES = 2 ** 30;
const PROMPT_TOKENS = 16;
/** A run that hangs must not stop an evaluation of hours. */
const TIMEOUT_MS = 30 * 60_000;

/** The result with figures of the engine. @throws NoRoomToInflateError, AdapterError, the signal's reason */
export async function measureLive(
  result: EvaluationResult,
  job: EvaluationJob,
  settings: LiveSettings,
): Promise<EvaluationResult> {
  const { signal, onProgress, runs, cacheShare, threads } = settings;
  const model = await liveModel(job.model, settings);
  const documents = liveDocuments(job, settings);
  const { expertBytesTotal } = readMoeLayout(openGguf(model));
  const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-live-"));
  const notes: string[] = [];
  try {
    const routers = await writeRouters(job, model, folder);
    const variants = liveVariants(result, job);
    const measured = new Map<string, LiveRun[]>(variants.map(({ name }) => [name, []]));
    for (let round = 0, done = 0; round < runs; round++)
      for (const variant of alternatingOrder(variants, round)) {
        const request: LiveJob = {
          ...{ model, policy: job.engine.policy, threads, documents },
          expertBytes: Math.floor(cacheShare * expertBytesTotal),
          router: variant.router === undefined ? undefined : routerOf(variant.router, routers),
          cacheBias:
            variant.lambda === null
              ? undefined
              : { rule: { kind: "prior", lambda: variant.lambda }, evenOnTheCliff: true },
        };
        dropPageCache(model);
        backMemory(request.expertBytes);
        const outcome = await runBenchChild("../tune/eval/live-run.js", request, {
          ...{ nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS },
        });
        done++;
        if (outcome.status === "failed") notes.push(`${variant.name} did not run on the engine: ${outcome.reason}`);
        else measured.get(variant.name)?.push(outcome.result as LiveRun);
        const ms =
          outcome.status === "failed"
            ? "failed"
            : `${median((outcome.result as LiveRun).stepMs).toFixed(0)} ms a token`;
        onProgress(`[live ${done}/${runs * variants.length}] ${variant.name}: ${ms}`);
      }
    return {
      ...result,
      variants: result.variants.map((variant) => ({ ...variant, live: figuresOf(measured.get(variant.name) ?? []) })),
      live: {
        ...{ modelFile: path.basename(model), cacheShare, requests: documents.length },
        ...{ tokensPerRequest: settings.tokens, runs, threads, policy: job.engine.policy },
      },
      notes: [...result.notes, ...new Set(notes)],
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function liveModel(model: string, { modelPath, signal, onProgress }: LiveSettings): Promise<string> {
  if (modelPath !== undefined) return modelPath;
  const layout = readMoeLayout(openGguf(model));
  if (layout.expertBytesTotal >= SMALL_BYTES || layout.architecture !== "qwen3moe") return model;
  let told = 0;
  return await inflatedModel(model, {
    signal,
    onProgress({ writtenBytes, totalBytes }) {
      const percent = Math.floor((10 * writtenBytes) / totalBytes) * 10;
      if (percent === told) return;
      told = percent;
      onProgress(`inflating the model: ${percent} %`);
    },
  });
}

/** From all domains in turn. @throws TuneError `too-little-data` */
function liveDocuments(job: EvaluationJob, { requests, tokens }: LiveSettings): LiveDocument[] {
  const inTurn = inTurnByDomain(documentsOf(job, requests, tokens));
  if (inTurn.length === 0) throw new TuneError("too-little-data", "There is no text to run the engine on.");
  return inTurn
    .slice(0, requests)
    .map(({ tokens: own }) => ({ promptTokens: Math.min(PROMPT_TOKENS, own.length - 1), tokens: [...own] }));
}

function documentsOf({ model, text, engine }: EvaluationJob, requests: number, tokens: number): GivenDocument[] {
  if (text.kind === "tokens")
    return text.documents.map((document) => ({ ...document, tokens: document.tokens.slice(0, tokens) }));
  const { texts } = text;
  return cutTexts(model, engine, { texts, documentTokens: tokens, documents: Math.ceil(requests / texts.length) });
}

interface LiveVariant {
  readonly name: string;
  /** Name of the tuned routers that it has. */
  readonly router: string | undefined;
  readonly lambda: number | null;
}

/** Controls without a router file of their own are left out, and so is the floor of noise, which is the base. */
function liveVariants({ variants }: EvaluationResult, { routers }: EvaluationJob): LiveVariant[] {
  return variants
    .filter(({ kind }) => kind !== "random" && kind !== "noise-floor")
    .map(({ name, lambda }) => ({ name, router: routers.find((router) => isOf(name, router.name))?.name, lambda }));
}

function isOf(variant: string, router: string): boolean {
  return variant === router || variant.startsWith(`${router} + cache-prior `);
}

/** Files of the routers as the model that runs has them, by their path. */
async function writeRouters(job: EvaluationJob, model: string, folder: string): Promise<LiveRouters> {
  const wide = readBaseModel(model);
  const files = new Map<string, string>();
  for (const { path: file } of job.routers) {
    const own = path.join(folder, `${files.size}.safetensors`);
    if (files.has(file)) continue;
    await writeRouterSafetensors(own, widerRouters(job.model, file, wide));
    files.set(file, own);
  }
  return { job, files };
}

interface LiveRouters {
  readonly job: EvaluationJob;
  readonly files: ReadonlyMap<string, string>;
}

function routerOf(name: string, { job, files }: LiveRouters): LiveJob["router"] {
  const router = job.routers.find((one) => one.name === name);
  const file = router && files.get(router.path);
  return file === undefined ? undefined : { path: file, scale: router?.scale ?? 1 };
}

function figuresOf(runs: readonly LiveRun[]): LiveFigures | null {
  if (runs.length === 0) return null;
  const times = runs.map(({ stepMs }) => median(stepMs));
  const per = (of: (run: LiveRun) => number) => median(runs.map((run) => of(run) / run.stepMs.length));
  const { hits, lateHits, misses } = runs[0];
  return {
    tpotMs: median(times),
    tpotRangeMs: [Math.min(...times), Math.max(...times)],
    bytesPerToken: per(({ bytes }) => bytes),
    missesPerToken: per((run) => run.misses),
    hitRate: hits / (hits + lateHits + misses),
    stallMsPerToken: per(({ stallMs }) => stallMs),
    swapRate: runs[0].swapRate,
  };
}
