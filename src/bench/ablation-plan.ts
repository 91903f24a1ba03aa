/**
 * What the ablation takes away from the default engine, one thing at a time, as plain data for a contender's job. Pure;
 * `run-ablation.ts` runs it.
 */
import { DEFAULT_POLICY } from "../engine/options.ts";
import type { SessionVariant, WarmsetJob } from "./contender-protocol.ts";

export interface Ablation {
  readonly name: string;
  /** @default DEFAULT_POLICY */
  readonly policy?: string;
  readonly variant?: SessionVariant;
  readonly nodeFlags?: readonly string[];
}

export const DEFAULT_ENGINE: Ablation = { name: `default (${DEFAULT_POLICY})` };

const POLICIES = ["warmset", "next-use+next-gate", "next-use", "lru", "on-demand"];

/** The default engine first. */
export const ABLATIONS: readonly Ablation[] = [
  DEFAULT_ENGINE,
  { name: "pages freed instead of moved", variant: { recyclePages: false } },
  { name: "idle threads asleep", variant: { poll: 0 } },
  { name: "without a lasting thread pool", variant: { threadPool: false } },
  { name: "with V8's worker threads", nodeFlags: [] },
  { name: "pread threads instead of AIO", variant: { io: "pread" } },
  { name: "page cache instead of own memory", variant: { backend: "page-cache" } },
  ...POLICIES.filter((policy) => policy !== DEFAULT_POLICY).map((policy) => ({ name: `policy ${policy}`, policy })),
];

/** Those whose name contains one of the words, and always the default engine: the others are held against it. */
export function ablationsNamed(words: readonly string[]): Ablation[] {
  for (const word of words)
    if (!ABLATIONS.some(({ name }) => name.includes(word)))
      throw new RangeError(
        `No ablation is called "${word}"; there are: ${ABLATIONS.map(({ name }) => name).join(", ")}`,
      );
  return ABLATIONS.filter((one) => one === DEFAULT_ENGINE || words.some((word) => one.name.includes(word)));
}

export function ablationJob(
  ablation: Ablation,
  base: Pick<WarmsetJob, "modelPath" | "windows" | "warmupTokens" | "threads" | "memoryBytes">,
): WarmsetJob {
  const { policy = DEFAULT_POLICY, variant, nodeFlags } = ablation;
  return { ...base, system: "warmset", policy, prefetch: true, variant, nodeFlags };
}
