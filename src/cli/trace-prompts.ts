/** The prompts that `warmset trace --prompts` records: read from files, drawn as the options say. Runs no model. */
import path from "node:path";
import type { PromptFormat } from "../trace/record/recording-job.ts";
import type { WorkloadError } from "../workload/errors.ts";
import type { Prompt } from "../workload/prompt.ts";
import { readPrompts } from "../workload/read-prompts.ts";
import { selectPrompts } from "../workload/select-prompts.ts";
import { TRAIN_SHARE } from "../workload/split.ts";
import type { Settings } from "./config.ts";
import { UsageError } from "./failure.ts";
import { labelledFile } from "./labelled-file.ts";

export interface DrawnPrompts {
  readonly prompts: readonly Prompt[];
  readonly format: PromptFormat;
  /** Sentences for the trace. */
  readonly notes: readonly string[];
  /** Sentences for the user. */
  readonly warnings: readonly string[];
  /** What was drawn from what, for the JSON document. */
  readonly config: object;
}

/** @throws UsageError, WorkloadError, the signal's reason */
export async function drawPrompts(settings: Settings, signal: AbortSignal): Promise<DrawnPrompts> {
  const { prompts: files = [], split = "all", mix, requests, turns = "first", skipBad = false } = settings;
  const format = formatOf(settings);
  checkOthers(settings);
  const skipped: WorkloadError[] = [];
  async function* all(): AsyncGenerator<Prompt> {
    for (const given of files) {
      const { path: file, label } = labelledFile(given);
      yield* readPrompts(file, {
        turns,
        signal,
        ...(label === undefined ? {} : { domain: label }),
        ...(skipBad ? { onBadRecord: (error) => void skipped.push(error) } : {}),
      });
    }
  }
  const seed = settings.seed === undefined || settings.seed === -1 ? 0 : settings.seed;
  const { prompts, read, ofSplit } = await selectPrompts(all(), {
    split,
    seed,
    ...(mix === undefined ? {} : { mix }),
    ...(requests === undefined ? {} : { requests }),
  });
  const names = files.map((given) => path.basename(labelledFile(given).path)).join(", ");
  const side =
    split === "all" ? "" : `, of the ${ofSplit} on the ${split} side of the split (${100 * TRAIN_SHARE} % are train)`;
  const shares =
    mix === undefined
      ? ""
      : `, mixed ${Object.entries(mix)
          .map((pair) => pair.join("="))
          .join(",")}`;
  return {
    prompts,
    format,
    notes: [`${prompts.length} of ${read} prompts of ${names}${side}${shares}, drawn with seed ${seed}.`],
    warnings: skipped.length === 0 ? [] : [`skipped ${recordsText(skipped.length)}; the first: ${skipped[0].message}`],
    config: {
      files,
      split,
      mix: mix ?? null,
      requests: requests ?? null,
      seed,
      turns,
      format,
      read,
      ofSplit,
      skipped: skipped.length,
    },
  };
}

function recordsText(count: number): string {
  return count === 1 ? "1 bad record" : `${count} bad records`;
}

function formatOf({ chat, raw }: Settings): PromptFormat {
  if (chat && raw) throw new UsageError("Give --chat or --raw, not both.");
  return chat ? "chat" : raw ? "raw" : "given";
}

/** Options of texts would be ignored silently. */
function checkOthers({ text, domain, samples, lengths, decode, promptTokens }: Settings): void {
  if (text !== undefined) throw new UsageError("Give --text or --prompts, not both.");
  if (domain !== undefined)
    throw new UsageError("--domain labels texts. Write --prompts label=FILE for prompts without a label of their own.");
  if (samples !== undefined) throw new UsageError("--samples counts samples of texts. Use --requests for prompts.");
  if (lengths !== undefined && (decode !== undefined || promptTokens !== undefined))
    throw new UsageError("Give --lengths, or --prompt-tokens and --decode, not both.");
}
