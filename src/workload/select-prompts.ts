/**
 * Draws prompts: so many, in shares by domain, none twice, of one side of the split. A prompt's place in the draw is a hash
 * of the seed and its content, so the draw does not depend on the order of files, more requests only add to fewer, and no
 * more prompts are held than are wanted.
 */
import { WorkloadError } from "./errors.ts";
import { hashShare } from "./hash-share.ts";
import type { Prompt } from "./prompt.ts";
import { contentKey, type Split, splitOf } from "./split.ts";

export interface SelectOptions {
  /** @default "all" */
  readonly split?: Split | "all";
  /** Share of prompts that are for training. @default 0.7 */
  readonly trainShare?: number;
  /** Weight by domain, such as `{ prose: 2, python: 1 }`; others are left out. Needs `requests`. @default all as they are */
  readonly mix?: Readonly<Record<string, number>>;
  /** @default all */
  readonly requests?: number;
  /** @default 0 */
  readonly seed?: number;
}

export interface Selection {
  /** In the order of their arrival where they have one, else shuffled. */
  readonly prompts: readonly Prompt[];
  /** Prompts that there were, and those of them on the wanted side. */
  readonly read: number;
  readonly ofSplit: number;
}

/** @throws WorkloadError `option`, `too-few`, and what the source throws */
export async function selectPrompts(
  source: AsyncIterable<Prompt> | Iterable<Prompt>,
  options: SelectOptions = {},
): Promise<Selection> {
  const { split = "all", trainShare, mix, requests, seed = 0 } = options;
  if (requests !== undefined && (!Number.isSafeInteger(requests) || requests < 1))
    throw new WorkloadError("option", {}, `The number of requests must be a whole number from 1 on, not ${requests}.`);
  const pools = mix === undefined ? undefined : poolsOf(mix, requests);
  const everything = new Pool(requests ?? Number.POSITIVE_INFINITY);
  const domains = new Set<string>();
  let read = 0;
  let ofSplit = 0;
  for await (const prompt of source) {
    read++;
    if (split !== "all" && splitOf(prompt, trainShare) !== split) continue;
    ofSplit++;
    domains.add(prompt.domain);
    const pool = pools === undefined ? everything : pools.get(prompt.domain);
    pool?.offer(prompt, seed);
  }
  const side = split === "all" ? "" : ` of the ${split} split`;
  for (const [domain, pool] of pools ?? [])
    if (pool.drawn().length < pool.wanted)
      throw new WorkloadError(
        "too-few",
        {},
        domains.has(domain)
          ? `The mix wants ${pool.wanted} prompts${side} of ${domain}, but there are ${pool.drawn().length}. Give more prompts, another mix or fewer requests.`
          : `The mix has the domain ${domain}, but no prompt${side} is of it. There are: ${[...domains].sort().join(", ") || "none"}.`,
      );
  const drawn = pools === undefined ? everything.drawn() : [...pools.values()].flatMap((pool) => pool.drawn());
  if (drawn.length === 0 || (requests !== undefined && drawn.length < requests))
    throw new WorkloadError(
      "too-few",
      {},
      `There are ${drawn.length} different prompts${side}${requests === undefined ? "" : `, but ${requests} requests are wanted`}. Give more prompts.`,
    );
  return { prompts: inOrder(drawn), read, ofSplit };
}

interface Drawn {
  readonly prompt: Prompt;
  readonly place: number;
  readonly content: string;
}

/** The `wanted` prompts with the first places, each content once. */
class Pool {
  readonly wanted: number;
  #kept: Drawn[] = [];

  constructor(wanted: number) {
    this.wanted = wanted;
  }

  offer(prompt: Prompt, seed: number): void {
    const content = contentKey(prompt);
    this.#kept.push({ prompt, content, place: hashShare(`draw ${seed} ${content}`) });
    if (this.#kept.length > 2 * this.wanted + 64) this.drawn();
  }

  drawn(): readonly Drawn[] {
    // The sort is stable: of prompts that say the same, the first one stays.
    const sorted = this.#kept.sort(byPlace);
    this.#kept = sorted.filter(({ content }, i) => content !== sorted[i - 1]?.content).slice(0, this.wanted);
    return this.#kept;
  }
}

function byPlace(a: Drawn, b: Drawn): number {
  if (a.place !== b.place) return a.place - b.place;
  return a.content < b.content ? -1 : a.content > b.content ? 1 : 0;
}

function inOrder(drawn: readonly Drawn[]): Prompt[] {
  return [...drawn]
    .sort((a, b) => (a.prompt.arrivalMs ?? 0) - (b.prompt.arrivalMs ?? 0) || byPlace(a, b))
    .map(({ prompt }) => prompt);
}

function poolsOf(mix: Readonly<Record<string, number>>, requests: number | undefined): Map<string, Pool> {
  if (requests === undefined) throw new WorkloadError("option", {}, "A mix needs the number of requests.");
  const counts = mixCounts(mix, requests);
  return new Map([...counts].map(([domain, count]) => [domain, new Pool(count)]));
}

/**
 * How many of `requests` each domain of a mix has: its share rounded down, and the rest to those that lost most.
 * @throws WorkloadError `option`
 */
export function mixCounts(mix: Readonly<Record<string, number>>, requests: number): Map<string, number> {
  const weights = Object.entries(mix);
  const sum = weights.reduce((total, [, weight]) => total + weight, 0);
  if (!(sum > 0) || !Number.isFinite(sum) || weights.some(([, weight]) => !(weight >= 0)))
    throw new WorkloadError("option", {}, "The weights of a mix must be numbers from 0 on, at least one above 0.");
  const exact = weights.map(([domain, weight]) => ({ domain, share: (weight / sum) * requests }));
  const counts = new Map(exact.map(({ domain, share }) => [domain, Math.floor(share)]));
  let rest = requests - [...counts.values()].reduce((total, count) => total + count, 0);
  for (const { domain } of exact.sort((a, b) => (b.share % 1) - (a.share % 1))) {
    if (rest-- <= 0) break;
    counts.set(domain, (counts.get(domain) as number) + 1);
  }
  return counts;
}
