/**
 * Which prompts may be learned from and which are for testing alone, by their content: no list has to be kept, and prompts
 * that are equal are on one side, in whichever files and order they stand.
 */
import { WorkloadError } from "./errors.ts";
import { hashShare } from "./hash-share.ts";
import { type Prompt, promptText } from "./prompt.ts";

export type Split = "train" | "test";

/** FineMoE's section 6.2. */
export const TRAIN_SHARE = 0.7;

/**
 * Characters that decide. Prompts are cut to a few dozen tokens, and data sets are full of texts that begin alike: the
 * beginning decides, so that prompts which are the same once they are cut are on one side as well.
 */
const DECIDING_CHARACTERS = 64;

/**
 * The side of a prompt, by the first 64 characters of the user's first turn, without regard to spaces.
 * @param trainShare more than 0 and less than 1
 */
export function splitOf(prompt: Prompt, trainShare = TRAIN_SHARE): Split {
  if (!(trainShare > 0 && trainShare < 1))
    throw new WorkloadError("option", {}, `The share of training prompts must be between 0 and 1, not ${trainShare}.`);
  return hashShare(`split ${firstWords(prompt)}`) < trainShare ? "train" : "test";
}

function firstWords({ content }: Prompt): string {
  const text =
    typeof content === "string" ? content : (content.find(({ role }) => role === "user") ?? content[0])?.content;
  return withoutSpaces(text ?? "").slice(0, DECIDING_CHARACTERS);
}

/** Equal for prompts that say the same. */
export function contentKey(prompt: Prompt): string {
  return withoutSpaces(promptText(prompt));
}

function withoutSpaces(text: string): string {
  return text.replace(/\s+/g, "");
}
