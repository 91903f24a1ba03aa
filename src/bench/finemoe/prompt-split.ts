/**
 * Which prompts a policy may learn from and which it is tested on. By a hash of the prompt's own tokens, so that equal
 * prompts always fall on the same side and no test prompt is ever learned from, whatever the order or the selection.
 *
 * Not `splitOf` of `workload/split.ts`, which does the same for prompts in files: a trace has ids of tokens and no text, and need
 * not have a vocabulary. The two do not put the same prompt on the same side.
 */
import { DECODE, type TraceSample } from "../../trace/trace.ts";
import { hashShare } from "../../workload/hash-share.ts";
import { TRAIN_SHARE } from "../../workload/split.ts";

/** As in the paper: 70 % fill the store, 30 % are tested. */
export const HELD_OUT_SHARE = 1 - TRAIN_SHARE;

export interface PromptSplit {
  readonly train: readonly TraceSample[];
  readonly test: readonly TraceSample[];
}

/** Samples with token ids go by their prompts; without, by their number. Order is kept. */
export function splitByPrompt(samples: readonly TraceSample[], heldOutShare = HELD_OUT_SHARE): PromptSplit {
  const train: TraceSample[] = [];
  const test: TraceSample[] = [];
  for (const sample of samples) (placeOf(sample) < heldOutShare ? test : train).push(sample);
  return { train, test };
}

/** 0 to 1, evenly spread, the same for prompts that are the same. */
function placeOf(sample: TraceSample): number {
  const { tokens } = sample;
  if (tokens === undefined) return hashShare(`sample ${sample.sample}`);
  return hashShare(`split ${tokens.subarray(0, promptTokens(sample)).join(" ")}`);
}

/** Tokens before the first decode step; all of them where there is none. */
export function promptTokens({ phases, length }: TraceSample): number {
  const first = phases.indexOf(DECODE);
  return first < 0 ? length : first;
}

/** Kinds of text mixed as in a service, always in the same way; a trace has them one after the other. */
export function mixedOrder(samples: readonly TraceSample[]): readonly TraceSample[] {
  return samples
    .map((sample) => ({ sample, at: hashShare(`order ${sample.sample}`) }))
    .sort((a, b) => a.at - b.at)
    .map(({ sample }) => sample);
}

/**
 * At most `count` of the requests, dealt out evenly over domains so that a short run still sees all kinds of text. The
 * choice depends on the samples alone.
 */
export function takeRequests(samples: readonly TraceSample[], count: number): readonly TraceSample[] {
  if (samples.length <= count) return samples;
  const byDomain = new Map<string, TraceSample[]>();
  for (const sample of samples) byDomain.set(sample.domain, [...(byDomain.get(sample.domain) ?? []), sample]);
  const taken = new Set<TraceSample>();
  for (let round = 0; taken.size < count; round++)
    for (const own of byDomain.values()) if (round < own.length && taken.size < count) taken.add(own[round]);
  return samples.filter((sample) => taken.has(sample));
}
