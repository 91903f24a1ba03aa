/**
 * The context of a model and the plan of its memory, found together: a context must exist to know what it takes, and how many
 * tokens it computes at once follows from what is left. Reads nothing of the model.
 */
import { availableParallelism } from "node:os";
import { smallestBudgetBytes } from "../cache/layer-budget.ts";
import type { Policy } from "../cache/policy.ts";
import type { ModelShape } from "../cache/shape.ts";
import type { MoeLayout } from "../gguf/index.ts";
import type { GraphHook } from "../llama/graph-hook.ts";
import { type Context, createContext, type Libraries, type Model } from "../llama/index.ts";
import { attachThreadPool } from "../llama/thread-pool.ts";
import { PAGE_BYTES } from "../memory/libc.ts";
import { mergeToPages, sharedEdgeBytes } from "../memory/page-plan.ts";
import { BudgetTooSmallError } from "./errors.ts";
import { type MemoryPlan, type PlanInput, planExpertMemory, planMemory } from "./memory-plan.ts";
import type { SessionOptions } from "./options.ts";
import { processMemory } from "./process-memory.ts";

/** GGML_MAX_N_THREADS. ggml does not check it, and a thousand threads at its spinning barriers stop a machine. */
const MAX_THREADS = 512;
const DEFAULT_MICRO_BATCH = 512;
const DEFAULT_CONTEXT = 4096;
/**
 * Idle compute threads keep spinning while experts are read: asleep, they cost 10 ms a token in wake-ups on the 6.9 GB
 * demo model at 33 % (43 against 34 ms of computing), and the drive is no faster for it.
 */
const DEFAULT_POLL = 50;

export interface ContextPlanning {
  readonly libraries: Libraries;
  readonly model: Model;
  readonly layout: MoeLayout;
  readonly shape: ModelShape;
  readonly policy: Policy;
  readonly options: SessionOptions;
  /** Of experts in slots over their bytes; undefined when they stay in the file's order. */
  readonly slotPadding: number | undefined;
  /** Attached to the context while experts are streamed, and while all are resident. */
  readonly hooks: { readonly streaming: GraphHook; readonly resident: GraphHook | undefined };
  /** Takes steps that undo what was made. */
  readonly keep: (undo: () => void) => void;
}

export interface PlannedContext {
  readonly context: Context;
  readonly plan: MemoryPlan;
  readonly microBatchTokens: number;
  /** False: all experts are resident. */
  readonly streaming: boolean;
}

/**
 * Finds the largest micro-batch and the experts' part that the budget allows, with a context made for them.
 * @throws BudgetTooSmallError, ContextCreateError, RangeError for `threads`
 */
export function planContext(planning: ContextPlanning): PlannedContext {
  const { libraries, model, layout, shape, policy, options, slotPadding, hooks, keep } = planning;
  const budget = options.memory ?? { kind: "all" };
  const contextSize = options.contextSize ?? Math.min(DEFAULT_CONTEXT, model.trainedContextSize);
  const maxSequences = options.maxSequences ?? 1;
  let microBatchTokens = Math.min(options.microBatchTokens ?? DEFAULT_MICRO_BATCH, contextSize * maxSequences);
  const processBytes = processMemory().residentBytes + (options.reservedBytes ?? 0);
  const allBytes = layout.denseBytes + layout.expertBytesTotal;
  const threads = options.threads ?? availableParallelism();
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)
    throw new RangeError(`threads must be a whole number from 1 to ${MAX_THREADS}, not ${threads}.`);
  let streaming = budget.kind !== "all" && budget.bytes < allBytes + (budget.kind === "process" ? processBytes : 0);
  const create = (batchTokens: number, attached: GraphHook | undefined) =>
    createContext(model, {
      contextSize,
      maxSequences,
      batchSize: batchTokens,
      microBatchSize: batchTokens,
      ...(options.maxOutputs === undefined ? {} : { maxOutputs: options.maxOutputs }),
      threads,
      ...(attached === undefined ? {} : { evalCallback: attached.pointer }),
      ...(options.abortAddress === undefined
        ? {}
        : { abortCallback: libraries.libc.symbol("strlen"), abortUser: BigInt(options.abortAddress) }),
    });
  for (let attempt = 0; ; attempt++) {
    const attached = streaming ? hooks.streaming : hooks.resident;
    const context = create(microBatchTokens, attached);
    const input: PlanInput = {
      shape,
      demand: policy.needs,
      denseBytes: denseBytes(layout),
      sharedEdgeBytes: slotPadding === undefined ? edgeBytes(layout) : 0,
      paddingShare: slotPadding ?? 0,
      processBytes,
      ...contextBytes(planning, microBatchTokens),
    };
    let plan =
      budget.kind === "experts"
        ? planExpertMemory(input, budget.bytes)
        : planMemory(input, budget.kind === "all" ? Number.MAX_SAFE_INTEGER : budget.bytes);
    const wrongMode = streaming === plan.fits && attempt < 4;
    const tooLarge = !plan.fits && plan.largestMicroBatch < microBatchTokens;
    if (!wrongMode && !tooLarge) {
      keep(() => context.dispose());
      if (attached !== undefined && (options.threadPool ?? true))
        keep(attachThreadPool(libraries, context, { threads, poll: options.poll ?? DEFAULT_POLL }));
      if (options.planOnly === true && microBatchTokens > 1) {
        // The smallest budget runs one token at a time, whose compute buffers are a fraction of these.
        create(1, hooks.streaming).dispose();
        const { computeBytes } = contextBytes(planning, 1);
        const smallestBudgetBytes = plan.smallestBudgetBytes - input.computeBytes + computeBytes;
        plan = { ...plan, smallestBudgetBytes };
      }
      return { context, plan, microBatchTokens, streaming };
    }
    context.dispose();
    if (wrongMode) streaming = !plan.fits;
    if (!tooLarge) continue;
    if (microBatchTokens === 1)
      throw new BudgetTooSmallError(
        budget.kind === "all" ? 0 : budget.bytes,
        budget.kind === "experts" ? smallestBudgetBytes(shape, 1, policy.needs) : plan.smallestBudgetBytes,
        policy.needs.wholeLayers
          ? `Policy ${policy.name} brings in whole layers: give it more memory, or choose another policy.`
          : "Give it more memory, or use a smaller context or model.",
      );
    microBatchTokens = Math.max(1, plan.largestMicroBatch);
  }
}

/** What the context just made has allocated, as llama.cpp logged it. */
function contextBytes(
  { libraries, model, layout, shape, options }: ContextPlanning,
  microBatchTokens: number,
): { kvBytes: number; computeBytes: number } {
  let kvBytes = 0;
  let computeBytes = 0;
  for (const [kind, bytes] of libraries.log.bufferSizes())
    if (kind === "compute" || kind === "output") computeBytes += bytes;
    else kvBytes += bytes;
  // The CPU back end's work buffer comes later and is not announced: the inputs of the largest product as floats.
  const workBytes = 4 * layout.hiddenSize * microBatchTokens * shape.expertsUsed;
  // The output buffer grows at the first batch that wants more logits than there are sequences.
  const { maxSequences = 1, maxOutputs = maxSequences } = options;
  const outputs = Math.max(0, Math.min(maxOutputs, microBatchTokens) - maxSequences);
  return { kvBytes, computeBytes: computeBytes + workBytes + 4 * model.vocabulary.size * outputs };
}

/** Dense weights in whole pages. */
function denseBytes({ denseRanges }: MoeLayout): number {
  return [...new Set(denseRanges.map(({ shard }) => shard))]
    .flatMap((shard) =>
      mergeToPages(
        denseRanges.filter((r) => r.shard === shard).map((r) => ({ start: r.offset, end: r.offset + r.bytes })),
        PAGE_BYTES,
      ),
    )
    .reduce((sum, { start, end }) => sum + end - start, 0);
}

function edgeBytes({ moeLayers }: MoeLayout): number {
  return moeLayers
    .flatMap((layer) => layer.slices)
    .reduce((sum, s) => sum + sharedEdgeBytes(s.offset, s.strideBytes, s.experts, PAGE_BYTES), 0);
}
