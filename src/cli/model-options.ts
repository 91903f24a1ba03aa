/** From a command's settings to the options of the engine. Reads the files that options name; opens no model. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { GenerateOptions, OpenModelOptions } from "../engine/open-model.ts";
import { openGguf } from "../gguf/index.ts";
import { parseCacheBias } from "../routing/cache-bias.ts";
import { refuseOptions, type Settings } from "./config.ts";
import { UsageError } from "./failure.ts";

/** The model that comes with warmset; `demo` names it on every command line. */
export const DEMO_MODEL = fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url));

/** @throws UsageError when the command has no model, or two */
export function modelPath(argument: string | undefined, settings: Settings): string {
  if (argument !== undefined && settings.model !== undefined && argument !== settings.model)
    throw new UsageError(`Two models: ${argument} and ${settings.model}. Give one.`);
  const path = argument ?? settings.model;
  if (path === undefined)
    throw new UsageError("No model. Give a GGUF file, or the word demo for the small model that comes with warmset.");
  return path === "demo" && !existsSync(path) ? DEMO_MODEL : path;
}

/**
 * The options of `openModel`, but for its signal and progress.
 * @throws GgufError with a context size of 0; UsageError; CacheBiasError
 */
export function openOptions(path: string, settings: Settings): Omit<OpenModelOptions, "signal" | "onProgress"> {
  const { memory, expertMemory, policy, learned, predictor, maps, hints, threads, backend, io, verbose } = settings;
  const { ctxSize, ubatchSize } = settings;
  return withoutUndefined({
    ...{ memory, expertMemory, policy, learned, predictor, maps, hints, threads, backend, io, verbose },
    cacheBias: parseCacheBias(settings.cacheBias, settings.cacheBiasRule, settings.cacheBiasKeep),
    router: routerOption(settings),
    contextSize: ctxSize === 0 ? trainedContext(path) : ctxSize,
    microBatchTokens: ubatchSize,
  });
}

/** @throws UsageError for a scale of nothing */
export function routerOption({ router, routerScale }: Settings): OpenModelOptions["router"] {
  if (router !== undefined) return routerScale === undefined ? { path: router } : { path: router, scale: routerScale };
  if (routerScale !== undefined) throw new UsageError("--router-scale is for tuned routers: give them with --router.");
  return undefined;
}

/** Files that no policy of the command begins with. @throws UsageError */
export function refuseUnusedFiles(command: Command, policies: readonly string[]): void {
  const bases = policies.map((name) => name.split(/[:+]/)[0]);
  if (!bases.includes("promoe"))
    refuseOptions(
      command,
      ["predictor"],
      "is for the policy promoe, which is not used: name it, or leave the file out.",
    );
  if (!bases.some((name) => name.startsWith("finemoe")))
    refuseOptions(command, ["maps"], "is for the policy finemoe, which is not used: name it, or leave the file out.");
}

function trainedContext(path: string): number {
  const { metadata } = openGguf(path);
  return metadata.number(`${metadata.string("general.architecture")}.context_length`);
}

/** Sampling and limits. @throws UsageError when a file cannot be read */
export function generateOptions(settings: Settings): GenerateOptions {
  const { predict, temp, topK, topP, minP, seed, stop, ignoreEos } = settings;
  if (settings.grammar !== undefined && settings.grammarFile !== undefined)
    throw new UsageError("Give --grammar or --grammar-file, not both.");
  const { grammarFile } = settings;
  return withoutUndefined({
    maxTokens: predict === -1 ? undefined : predict,
    temperature: temp,
    topK,
    topP,
    minP,
    seed: seed === -1 ? undefined : seed,
    stop,
    ignoreEndOfGeneration: ignoreEos,
    grammar: grammarFile === undefined ? settings.grammar : readOptionFile("--grammar-file", grammarFile),
  });
}

/** The template that was given, if one was. @throws UsageError when it cannot be read */
export function givenTemplate({ chatTemplateFile, raw }: Settings): string | undefined {
  if (chatTemplateFile === undefined) return undefined;
  if (raw) throw new UsageError("Give --raw or --chat-template-file, not both.");
  return readOptionFile("--chat-template-file", chatTemplateFile);
}

function readOptionFile(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`${option} ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

type WithoutUndefined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** An option that was not given must be absent, so that the engine's default holds. */
export function withoutUndefined<T extends object>(options: T): WithoutUndefined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as WithoutUndefined<T>;
}
