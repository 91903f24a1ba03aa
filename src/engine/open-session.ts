/**
 * Opens a model under a budget: the one place where file, libraries, memory, cache, policy and graph are put together.
 * The order matters: map without reading, measure what the process and its context take, plan, then read the dense
 * weights once. Each step that can fail gives back what the steps before it took.
 */
import fs from "node:fs";
import type { EmbeddingSource } from "../cache/embedding-source.ts";
import type { Policy } from "../cache/policy.ts";
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import { HintedPolicy } from "../flash/hints/hinted-policy.ts";
import {
  type GgufFile,
  type GgufTensor,
  type MoeLayout,
  openGguf,
  readMoeLayout,
  routerTensors,
  toModelShape,
} from "../gguf/index.ts";
import { embeddingTable } from "../llama/embedding-table.ts";
import type { GraphHook, GraphListener } from "../llama/graph-hook.ts";
import { type Context, type Libraries, loadLibraries, loadModel, type Model } from "../llama/index.ts";
import { NextGate } from "../llama/next-gate.ts";
import { createDenseReader, type DenseBytes } from "../memory/dense-weights.ts";
import type { ExpertMemory, ModelFile, SlicePlace } from "../memory/expert-memory.ts";
import {
  type ExpertPlacement,
  HUGE_PAGE_BYTES,
  paddingShare,
  placeInFile,
  placeInSlots,
  planSlots,
  type SlotPlan,
} from "../memory/expert-placement.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { captureMappings } from "../memory/model-mapping.ts";
import { openFiles } from "../memory/open-files.ts";
import { OwnedMemory } from "../memory/owned-memory.ts";
import { PageCacheMemory } from "../memory/page-cache-memory.ts";
import { ceilTo } from "../memory/page-plan.ts";
import { policyByName } from "../policy/index.ts";
import { checkCacheSize } from "../routing/cache-bias.ts";
import { CachePriorRouter } from "../routing/cache-prior-router.ts";
import { ExpertReadError, GenerationAbortedError } from "./errors.ts";
import { ExpertStream } from "./expert-stream.ts";
import { unusedNote } from "./learned-file.ts";
import { type MemoryPlan, planWarnings } from "./memory-plan.ts";
import { modelHook } from "./model-hook.ts";
import { DEFAULT_POLICY, type SessionOptions } from "./options.ts";
import { planContext } from "./planned-context.ts";
import { overrideRouters } from "./router-override.ts";
import { Session } from "./session.ts";

/**
 * @throws GgufError, UnsupportedModelError for the file; ModelLoadError, ContextCreateError from llama.cpp;
 *   BudgetTooSmallError; ExpertReadError when reading fails; GenerationAbortedError.
 */
export function openSession(path: string, options: SessionOptions = {}): Session {
  const cleanUp: (() => void)[] = [];
  const dispose = () => {
    for (let step = cleanUp.pop(); step !== undefined; step = cleanUp.pop()) step();
  };
  try {
    return new Opening(path, options, cleanUp).session(dispose);
  } catch (error) {
    dispose();
    throw error;
  }
}

/** What a hook does when experts need no waiting for: only to let the routing be seen. */
const WATCHING: GraphListener = { routed: () => true, multiply: () => false, multiplied: () => true };

class Opening {
  readonly #startMs = performance.now();
  readonly #path: string;
  readonly #options: SessionOptions;
  readonly #policy: Policy;
  /** Steps to undo, last first. */
  readonly #cleanUp: (() => void)[];
  readonly #notes: string[] = [];
  readonly #gguf: GgufFile;
  readonly #layout: MoeLayout;
  readonly #shape: ModelShape;
  readonly #libraries: Libraries;
  readonly #paths: string[];
  /** By layer and stage. */
  readonly #slices: readonly (readonly SlicePlace[])[];
  /** Undefined when experts stay in the file's order. */
  readonly #slots: SlotPlan | undefined;
  /** Where routers that replace the model's own lie, by block. */
  #routers: ReadonlyMap<number, number> = new Map();

  constructor(path: string, options: SessionOptions, cleanUp: (() => void)[]) {
    this.#path = path;
    this.#options = options;
    this.#policy = this.#withHints(options.policy ?? policyByName(DEFAULT_POLICY));
    this.#cleanUp = cleanUp;
    // The last thing to go: the policy hands over what it has seen until it ends.
    if (options.hints !== undefined) cleanUp.push(() => options.hints?.link.close());
    this.#gguf = openGguf(path);
    this.#layout = readMoeLayout(this.#gguf);
    this.#shape = toModelShape(this.#layout);
    this.#paths = this.#gguf.shards.map((shard) => fs.realpathSync(shard.path));
    this.#libraries = loadLibraries({ verbose: options.verbose ?? false });
    this.#slices = this.#layout.moeLayers.map((layer) =>
      layer.slices.map(({ shard, offset, strideBytes }) => ({ file: shard, offset, strideBytes })),
    );
    this.#slots =
      options.backend === "page-cache" ? undefined : planSlots(this.#slices, this.#shape.experts, PAGE_BYTES);
  }

  session(dispose: () => void): Session {
    const { model, files } = this.#map();
    this.#overrideRouters(model);
    let listener: GraphListener | undefined;
    const placement = this.#place(files);
    const hook = this.#hook(files, placement, () => listener);
    const watch = this.#options.onRouted === undefined ? undefined : this.#hook(files, undefined, () => WATCHING);
    const { context, plan, microBatchTokens, streaming } = planContext({
      ...{ libraries: this.#libraries, model, layout: this.#layout, shape: this.#shape },
      ...{ policy: this.#policy, options: this.#options, hooks: { streaming: hook, resident: watch } },
      slotPadding: this.#slots === undefined ? undefined : this.#paddingShare(),
      keep: (undo) => this.#cleanUp.push(undo),
    });
    this.#notes.push(...planWarnings(plan));
    const cacheBias = this.#cacheBias(plan, streaming, microBatchTokens);
    if (this.#options.hints !== undefined && !streaming)
      this.#notes.push("All experts are in memory: there is nothing that hints could bring there earlier.");

    const dense = createDenseReader(files, this.#residentRanges(streaming));
    let memory: ExpertMemory | undefined;
    const opened = (this.#options.openFiles ?? openFiles)(
      this.#paths,
      (tag, bytes, error) => {
        if (tag < 0) dense.finished(tag, bytes, error);
        else (memory as OwnedMemory).finished(tag, bytes, error);
      },
      this.#options.io,
    );
    this.#cleanUp.push(opened.close);
    this.#notes.push(...opened.downgrades);

    const aborted = this.#abortFlag();
    let bytesRead = 0;
    if (this.#options.backend !== "page-cache" && this.#options.planOnly !== true) {
      bytesRead = dense.read(opened.reads, this.#options.onProgress ?? (() => {}), aborted);
      if (aborted()) throw new GenerationAbortedError();
      if (dense.failure !== undefined) throw new ExpertReadError(dense.failure);
    }
    if (streaming) {
      let stream: ExpertStream | undefined;
      const onComplete = (key: ExpertKey) => stream?.cache.completed(key);
      memory =
        this.#options.backend === "page-cache"
          ? new PageCacheMemory({
              files,
              layers: this.#slices,
              expertsPerLayer: this.#shape.experts,
              onComplete,
              descriptors: opened.descriptors,
            })
          : new OwnedMemory({
              placement,
              onComplete,
              reads: opened.reads,
              budgetBytes: Math.ceil(plan.expertBudgetBytes * (1 + this.#paddingShare())),
              recycle: this.#options.recyclePages ?? true,
              aborted,
            });
      const expertMemory = memory;
      const streamWith = (policy: Policy) =>
        new ExpertStream({
          shape: this.#shape,
          budgetBytes: plan.expertBudgetBytes,
          policy,
          memory: expertMemory,
          microBatchTokens,
          nextGate: policy.needs.nextGate ? this.#nextGate(files, microBatchTokens) : undefined,
          embeddings: policy.needs.embeddings ? this.#embeddings(files) : undefined,
          cacheBias,
          aborted,
        });
      stream = this.#beginWith(streamWith);
      listener = stream;
      const parts = { stream, memory };
      return this.#finish(dispose, model, context, plan, microBatchTokens, bytesRead, opened.descriptors, parts, hook);
    }
    return this.#finish(
      dispose,
      model,
      context,
      plan,
      microBatchTokens,
      bytesRead,
      opened.descriptors,
      undefined,
      watch,
    );
  }

  /** A policy that cannot begin with what it had learned begins without. */
  #beginWith(streamWith: (policy: Policy) => ExpertStream): ExpertStream {
    const { learned } = this.#options;
    try {
      return streamWith(this.#policy);
    } catch (error) {
      if (learned?.fresh === undefined) throw error;
      this.#notes.push(unusedNote(learned, error));
      return streamWith(this.#withHints(learned.fresh()));
    }
  }

  #withHints(policy: Policy): Policy {
    const { hints } = this.#options;
    return hints === undefined ? policy : new HintedPolicy(policy, hints);
  }

  #finish(
    dispose: () => void,
    model: Model,
    context: Context,
    plan: MemoryPlan,
    microBatchTokens: number,
    loadBytes: number,
    descriptors: readonly number[],
    streaming: { stream: ExpertStream; memory: ExpertMemory } | undefined,
    hook: GraphHook | undefined,
  ): Session {
    return new Session({
      path: this.#path,
      model,
      context,
      plan,
      microBatchTokens,
      streaming,
      learned: this.#options.planOnly === true ? undefined : this.#options.learned,
      hook,
      // Without streaming nothing is read any more, so a file may change as it likes.
      files:
        streaming === undefined
          ? []
          : descriptors.map((descriptor, i) => {
              const stat = fs.fstatSync(descriptor);
              return { path: this.#paths[i], descriptor, bytes: stat.size, changedMs: stat.mtimeMs };
            }),
      load: { ms: performance.now() - this.#startMs, bytesRead: loadBytes },
      notes: this.#notes,
      abortAddress: this.#options.abortAddress,
      bytesRead: () => loadBytes + (streaming?.memory.counters.bytesRead ?? 0),
      dispose,
    });
  }

  /** Loads the model without reading its weights; the mapping is memory of our own unless the page cache is wanted. */
  #map(): { model: Model; files: ModelFile[] } {
    const mode = this.#options.backend === "page-cache" ? "map" : "reserve";
    const capture = captureMappings(this.#libraries.paths.llama, this.#paths, mode);
    if (capture === undefined)
      throw new Error("This build of llama.cpp does not let its mappings be redirected; expert memory cannot work.");
    let model: Model;
    try {
      model = loadModel(this.#libraries, this.#paths.length === 1 ? this.#paths[0] : this.#paths);
    } finally {
      capture.restore();
    }
    this.#cleanUp.push(() => model.dispose());
    const files = this.#paths.map((path, i): ModelFile => {
      const mapped = capture.mapped.find((file) => file.path === path);
      if (mapped === undefined) throw new Error(`llama.cpp did not map ${path}`);
      return { path, bytes: this.#gguf.shards[i].fileBytes, base: mapped.base };
    });
    return { model, files };
  }

  /** Before the plan, which counts what this process holds. */
  #overrideRouters(model: Model): void {
    if (this.#options.router === undefined) return;
    const { addresses, note, release } = overrideRouters(model, this.#path, this.#options.router);
    this.#cleanUp.push(release);
    this.#routers = addresses;
    this.#notes.push(note);
  }

  /** Decides where experts lie while not all are resident. Slots are address space until experts are read into them. */
  #place(files: readonly ModelFile[]): ExpertPlacement {
    const { experts } = this.#shape;
    if (this.#slots === undefined) return placeInFile(files, this.#slices, experts, PAGE_BYTES);
    const bytes = this.#slots.bytes + HUGE_PAGE_BYTES;
    const reserved = reserveMemory(bytes);
    this.#cleanUp.push(() => releaseMemory(reserved, bytes));
    const base = ceilTo(reserved, HUGE_PAGE_BYTES);
    return placeInSlots(files, this.#slices, experts, PAGE_BYTES, this.#slots, base);
  }

  #paddingShare(): number {
    return this.#slots === undefined ? 0 : paddingShare(this.#slices, this.#slots);
  }

  #hook(
    files: readonly ModelFile[],
    placement: ExpertPlacement | undefined,
    listener: () => GraphListener | undefined,
  ): GraphHook {
    const hook = modelHook({
      libraries: this.#libraries,
      layout: this.#layout,
      files,
      placement,
      listener: () => listener() as GraphListener,
      onRouted: this.#options.onRouted,
    });
    this.#cleanUp.push(() => hook.dispose());
    return hook;
  }

  /** What is read at load: dense weights, and the experts too when they all fit. */
  #residentRanges(streaming: boolean): readonly DenseBytes[] {
    if (streaming) return this.#layout.denseRanges;
    const experts = this.#layout.moeLayers.flatMap((layer) =>
      layer.slices.map((s) => ({ shard: s.shard, offset: s.offset, bytes: s.strideBytes * s.experts })),
    );
    return [...this.#layout.denseRanges, ...experts].sort((a, b) => a.shard - b.shard || a.offset - b.offset);
  }

  #nextGate(files: readonly ModelFile[], microBatchTokens: number): NextGate {
    const address = (tensor: GgufTensor | undefined) =>
      tensor === undefined ? 0 : files[tensor.shard].base + tensor.offset;
    const gate = new NextGate({
      libraries: this.#libraries,
      routers: routerTensors(this.#gguf, this.#layout).map(({ weights, norm }, layer) => ({
        weights: this.#routers.get(this.#layout.moeLayers[layer].blockIndex) ?? address(weights),
        norm: address(norm),
      })),
      hiddenSize: this.#layout.hiddenSize,
      experts: this.#shape.experts,
      microBatchTokens,
    });
    this.#cleanUp.push(() => gate.dispose());
    return gate;
  }

  /** Before anything is read, because the cache may be too small for it. @throws CacheBiasError */
  #cacheBias(plan: MemoryPlan, streaming: boolean, microBatchTokens: number): CachePriorRouter | undefined {
    const bias = this.#options.cacheBias;
    if (bias === undefined) return undefined;
    if (!streaming) {
      this.#notes.push(
        "All experts are in memory: the cache bias has nothing to prefer, and routing is the model's own.",
      );
      return undefined;
    }
    const { experts, expertsUsed } = this.#shape;
    const expertsPerLayer = (experts * plan.expertBudgetBytes) / plan.expertBytesTotal;
    this.#notes.push(...checkCacheSize(bias, expertsPerLayer, expertsUsed));
    return new CachePriorRouter({ bias, shape: this.#shape, expertsPerLayer, microBatchTokens });
  }

  #embeddings(files: readonly ModelFile[]): EmbeddingSource | undefined {
    return embeddingTable(this.#libraries, this.#gguf, ({ shard, offset }) => files[shard].base + offset);
  }

  #abortFlag(): () => boolean {
    const address = this.#options.abortAddress;
    if (address === undefined) return () => false;
    const byte = new Uint8Array(viewMemory(address, 1));
    return () => byte[0] !== 0;
  }
}
