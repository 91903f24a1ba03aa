/**
 * What the first prompt had to read of the model: the dense weights and the experts that its routers chose, in whole
 * pages, to be held against what was read. It listens to the policy's own events, so it sees what the cache saw.
 */
import type { Policy } from "../cache/policy.ts";
import type { MemoryPlan } from "../engine/memory-plan.ts";
import { type MoeLayout, openGguf, readMoeLayout } from "../gguf/index.ts";
import { PAGE_BYTES } from "../memory/libc.ts";
import { coveringPages } from "../memory/page-plan.ts";
import type { FirstPromptBytes } from "./contender-protocol.ts";

/** Counts the experts that routers choose, from its creation until `stop`. */
export class PromptExperts {
  /** Per expert key: in how many micro-batches its layer chose it. */
  readonly uses = new Map<number, number>();
  microBatches = 0;
  readonly #policy: Policy;
  readonly #routed: Policy["routed"];
  readonly #iteration: Policy["iteration"];

  constructor(policy: Policy) {
    this.#policy = policy;
    const { routed, iteration } = policy;
    this.#routed = routed;
    this.#iteration = iteration;
    policy.iteration = (start) => {
      this.microBatches++;
      iteration.call(policy, start);
    };
    policy.routed = (event) => {
      for (let i = 0; i < event.distinctCount; i++)
        this.uses.set(event.distinct[i], (this.uses.get(event.distinct[i]) ?? 0) + 1);
      routed.call(policy, event);
    };
  }

  /** Lets the policy alone from now on: the tokens that are timed run without this. */
  stop(): void {
    this.#policy.routed = this.#routed;
    this.#policy.iteration = this.#iteration;
  }
}

/** Opens the model's header, so call it when nothing is timed any more. */
export function firstPromptBytes(
  modelPath: string,
  plan: MemoryPlan,
  { uses, microBatches }: PromptExperts,
  readBytes: number,
): FirstPromptBytes {
  const layout = readMoeLayout(openGguf(modelPath));
  let onceBytes = 0;
  let everyTimeBytes = 0;
  for (const [key, count] of uses) {
    const bytes = pagesOfExpert(layout, key);
    onceBytes += bytes;
    everyTimeBytes += count * bytes;
  }
  const once = microBatches === 1 || onceBytes <= plan.expertBudgetBytes;
  return {
    readBytes,
    neededBytes: plan.denseBytes + (once ? onceBytes : everyTimeBytes),
    rule: once ? "once" : "once per micro-batch",
    microBatches,
    experts: uses.size,
  };
}

/** Bytes of the pages that hold the slices of an expert; pages shared with a neighbour belong to both. */
function pagesOfExpert(layout: MoeLayout, key: number): number {
  const { slices } = layout.moeLayers[Math.floor(key / layout.expertsPerLayer)];
  const expert = key % layout.expertsPerLayer;
  return slices.reduce((sum, { offset, strideBytes }) => {
    const { start, end } = coveringPages(offset + expert * strideBytes, strideBytes, PAGE_BYTES);
    return sum + end - start;
  }, 0);
}
