/** Options that the subcommands of `tune` share, and how their values are read. */
import { InvalidArgumentError, Option } from "commander";
import { memoryBudget } from "../engine/byte-size.ts";
import type { EngineSettings } from "../engine/engine-settings.ts";
import { DEFAULT_POLICY } from "../engine/options.ts";
import type { TextFile } from "../trace/record/text-samples.ts";
import type { Settings } from "./config.ts";
import { UsageError } from "./failure.ts";
import { labelledFile } from "./labelled-file.ts";

/** Options of `tune` alone, beside those that other commands have. */
export interface TuneSettings extends Settings {
  /** C of the deployment, of the experts. */
  readonly deploy?: number;
}

type EngineOptions = Pick<
  Settings,
  "memory" | "expertMemory" | "policy" | "ubatchSize" | "threads" | "backend" | "io" | "verbose"
>;

export const deployOption = () =>
  new Option("--deploy <percent>", "cache of the deployment, of each layer's experts").argParser(percent).default(0.5);

export const textOption = () =>
  new Option("--text <[label=]file...>", "texts, each with the label of its domain if wanted").argParser(listed);

/** @throws UsageError without texts */
export function textFiles({ text }: Pick<Settings, "text">, instead: string): TextFile[] {
  if (text === undefined || text.length === 0)
    throw new UsageError(`No text. Give files with --text FILE..., one or more${instead}.`);
  return text.map((given): TextFile => {
    const { path, label } = labelledFile(given);
    return label === undefined ? { path } : { path, domain: label };
  });
}

/** @throws ByteSizeError, GgufError */
export function engineSettings(model: string, settings: EngineOptions): EngineSettings {
  const { memory, expertMemory, policy, ubatchSize, threads, backend, io, verbose } = settings;
  return {
    memory: memoryBudget(model, {
      ...(memory === undefined ? {} : { memory }),
      ...(expertMemory === undefined ? {} : { expertMemory }),
    }),
    ...{ policy: policy ?? DEFAULT_POLICY, microBatchTokens: ubatchSize, threads, backend, io },
    ...{ reservedBytes: process.memoryUsage.rss(), verbose: verbose ?? false },
  };
}

export function decimal(smallest: number, largest = Number.MAX_VALUE): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= smallest && value <= largest))
      throw new InvalidArgumentError(
        `It must be a number ${largest === Number.MAX_VALUE ? `from ${smallest} on` : `from ${smallest} to ${largest}`}.`,
      );
    return value;
  };
}

/** "50%" or "50" as 0.5. */
export function percent(text: string): number {
  const value = Number(text.trim().replace(/%$/, "")) / 100;
  if (text.trim() === "" || !(value > 0 && value < 1))
    throw new InvalidArgumentError("It must be a percentage between 0 and 100.");
  return value;
}

export function decimals(smallest: number, largest = Number.MAX_VALUE): (text: string) => readonly number[] {
  return (text) => text.split(",").map(decimal(smallest, largest));
}

export function listed(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** Folders of whoever ran it say nothing and do not belong into a result. */
export function commandLine(args: readonly string[]): string {
  const base = (arg: string) => (arg.includes("/") ? arg.replace(/^.*\//, "") : arg);
  return ["warmset", ...args.map(base)].join(" ");
}
