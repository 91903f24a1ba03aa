/**
 * An evaluation from beginning to end in this process: the same documents through every variant, group by group, held against the
 * base's predictions on the same tokens; then what each variant makes of the documents' starts. It holds the thread while
 * batches are computed, so it runs in a process of its own.
 */
import { warmsetVersion } from "../../bench/machine.ts";
import { type SessionEvents, sessionOptions } from "../../engine/engine-settings.ts";
import { openGguf } from "../../gguf/index.ts";
import { tracedModel } from "../../trace/record/traced-model.ts";
import { TuneError } from "../errors.ts";
import { type CacheCell, cacheCells, cacheSizes } from "./cache-cells.ts";
import { cutTexts } from "./cut-texts.ts";
import { DocumentRunner, type RunDocument } from "./document-runner.ts";
import type {
  EvaluationJob,
  EvaluationProgress,
  EvaluationResult,
  GivenDocument,
  VariantFigures,
} from "./evaluation.ts";
import { driftFigures, type FiguresContext, localityFigures, type VariantSums } from "./figures.ts";
import { randomGates } from "./random-gates.ts";
import { judgeGates } from "./ship-gates.ts";
import { VariantSummer } from "./variant-sums.ts";
import { BASE, comparedVariants, RANDOM_NAME, readTunedGates, type TunedGates, type Variant } from "./variants.ts";

export interface EvaluationEvents extends SessionEvents {
  readonly onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Logits of the base that are kept at once, in a file. */
const KEPT_LOGIT_BYTES = 2 ** 30;
/** Tokens on which a random change is made as far from the base as the tuned gates are. */
const RANDOM_TOKENS = 512;
/** Documents side by side: of a model that is all in memory, and of one that streams. */
const SIDE_BY_SIDE = { resident: 16, streaming: 4 } as const;

/**
 * @throws RecordingInputError for texts, AdapterError for routers of another model, CacheBiasError, TuneError, what `openSession`
 *   and `Session.decode` throw, and the signal's reason
 */
export async function runEvaluation(job: EvaluationJob, events: EvaluationEvents = {}): Promise<EvaluationResult> {
  const startedAt = performance.now();
  const documents = readDocuments(job);
  // A wrong adapter is said before gigabytes are read.
  const tuned = readTunedGates(job);
  using runner = openRunner(job, documents, events);
  const evaluation = new Evaluation(job, documents, tuned, runner, events);
  return await evaluation.run(startedAt);
}

/** @throws TuneError `too-little-data`, RecordingInputError */
function readDocuments(job: EvaluationJob): readonly GivenDocument[] {
  const documents = job.text.kind === "tokens" ? job.text.documents : cutTexts(job.model, job.engine, job.text);
  const shortest = documents.reduce((least, { tokens }) => Math.min(least, tokens.length), Number.POSITIVE_INFINITY);
  const needed = Math.max(2, job.generate?.promptTokens ?? 0);
  if (documents.length === 0 || shortest < needed)
    throw new TuneError(
      "too-little-data",
      documents.length === 0
        ? "There are no documents to compare on. Give texts."
        : `A document has ${shortest} tokens, but ${needed} are needed. Give longer documents, or shorter starts to go on from.`,
    );
  return documents;
}

function longestOf(documents: readonly GivenDocument[]): number {
  return documents.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
}

function openRunner(job: EvaluationJob, documents: readonly GivenDocument[], events: EvaluationEvents): DocumentRunner {
  const { engine, generate, warmCaches = false } = job;
  const inMemory =
    engine.memory.kind === "all" ||
    (engine.memory.kind === "process" && engine.memory.bytes > 1.5 * openGguf(job.model).fileBytes);
  const several = job.cacheBias.length > 0 || generate !== undefined;
  const most = inMemory ? SIDE_BY_SIDE.resident : SIDE_BY_SIDE.streaming;
  return new DocumentRunner({
    model: job.model,
    documentTokens: Math.max(
      longestOf(documents),
      generate === undefined ? 0 : generate.promptTokens + generate.tokens,
    ),
    warmCaches,
    sideBySide: several ? Math.min(most, documents.length) : 1,
    session: sessionOptions(engine, events),
  });
}

interface Seen {
  readonly variant: Variant;
  readonly forced: VariantSummer;
  readonly generated: VariantSummer;
  readonly kls: Float32Array[];
  /** Of each group of documents. */
  readonly swapRates: number[];
}

class Evaluation {
  readonly #job: EvaluationJob;
  readonly #documents: readonly GivenDocument[];
  readonly #runner: DocumentRunner;
  readonly #events: EvaluationEvents;
  readonly #cells: readonly CacheCell[];
  readonly #expertsPerLayer: number;
  readonly #notes: string[] = [];
  readonly #seen: Seen[];
  readonly #tuned: readonly TunedGates[];
  #tokens = 0;

  constructor(
    job: EvaluationJob,
    documents: readonly GivenDocument[],
    tuned: readonly TunedGates[],
    runner: DocumentRunner,
    events: EvaluationEvents,
  ) {
    const { shape } = runner;
    this.#job = job;
    this.#documents = documents;
    this.#runner = runner;
    this.#events = events;
    this.#tuned = tuned;
    this.#expertsPerLayer = Math.max(1, Math.min(shape.experts - 1, Math.round(job.cacheShare * shape.experts)));
    this.#cells = cacheCells(cacheSizes(shape, [this.#expertsPerLayer]));
    if (job.cacheBias.length > 0 && !runner.resident)
      this.#notes.push(
        "Cache-prior routing was left out: on simulated caches it needs all experts in memory (--memory all).",
      );
    const sizes = { expertsUsed: shape.expertsUsed, expertsPerLayer: this.#expertsPerLayer };
    this.#seen = [BASE, ...comparedVariants(job, tuned, sizes, runner.resident)].map((variant) =>
      this.#unseen(variant),
    );
  }

  async run(startedAt: number): Promise<EvaluationResult> {
    const { generate } = this.#job;
    await this.#force();
    if (generate !== undefined) await this.#generate(generate);
    const traced = tracedModel(this.#job.model);
    const expertBytes = traced.expertBytes.reduce((sum, bytes) => sum + bytes, 0) / traced.expertBytes.length;
    const { documents } = this;
    return {
      kind: "tune-eval",
      warmset: warmsetVersion(),
      date: new Date().toISOString(),
      command: "",
      model: {
        ...{ name: traced.name, architecture: traced.architecture, layers: traced.moeBlocks.length },
        ...{ experts: traced.experts, expertsUsed: traced.expertsUsed, expertBytes },
      },
      deploymentExperts: this.#expertsPerLayer,
      warmCaches: this.#job.warmCaches ?? false,
      documents,
      generate: generate ?? null,
      variants: this.#figures({ shape: this.#runner.shape, cells: this.#cells, expertBytes }),
      live: null,
      notes: [...this.#runner.notes, ...this.#notes],
      seconds: (performance.now() - startedAt) / 1000,
    };
  }

  get documents(): EvaluationResult["documents"] {
    return {
      count: this.#documents.length,
      tokens: this.#documents.reduce((sum, { tokens }) => sum + tokens.length, 0),
      domains: [...new Set(this.#documents.map(({ domain }) => domain))],
    };
  }

  #unseen(variant: Variant): Seen {
    const summer = () => new VariantSummer(this.#runner.shape, this.#cells, this.#job.warmCaches);
    return { variant, forced: summer(), generated: summer(), kls: [], swapRates: [] };
  }

  async #force(): Promise<void> {
    const runner = this.#runner;
    const size = this.#groupSize();
    for (let from = 0; from < this.#documents.length; from += size) {
      const group = this.#documents.slice(from, from + size);
      using reference = runner.predictionRows();
      const wantsInputs = from === 0 && this.#job.random && this.#tuned.length > 0;
      if (wantsInputs) runner.observer.keepInputs(RANDOM_TOKENS);
      for (let i = 0; i < this.#seen.length; i++) {
        const seen = this.#seen[i];
        const { variant } = seen;
        runner.use(variant);
        if (variant.bias !== undefined) this.#take(seen, runner.forced(group, reference, false));
        else
          for (const [at, document] of group.entries()) {
            this.#take(seen, runner.forced([document], reference, variant === BASE, rowsOf(group.slice(0, at))));
            // In a large model a document takes a while, and somebody may want to stop.
            await this.#pause(variant);
          }
        // With warm caches each document tells the rate since the first one.
        if (this.#job.warmCaches) seen.swapRates.length = 0;
        if (runner.swapRate !== undefined) seen.swapRates.push(runner.swapRate);
        await this.#pause(variant);
        if (wantsInputs && variant === BASE) this.#addRandom();
      }
    }
  }

  #take({ forced, kls }: Seen, documents: readonly RunDocument[]): void {
    for (const document of documents) {
      forced.add(document);
      kls.push(document.kls);
      this.#tokens += document.tokens;
    }
  }

  /** Behind the tuned ones, once the base has shown what its routers get. */
  #addRandom(): void {
    const { observer, baseGates } = this.#runner;
    const inputs = observer.takeInputs();
    const [{ name, gates }] = this.#tuned;
    if (inputs === undefined || observer.rules === undefined) {
      this.#notes.push("No random change was compared: the graph does not show the routers' inputs.");
      return;
    }
    const { seed } = this.#job;
    const random = randomGates({ base: baseGates, tuned: gates, rules: observer.rules, inputs, seed });
    const variant: Variant = { ...BASE, name: RANDOM_NAME, kind: "random", method: `as far as ${name}`, gates: random };
    const behind = this.#seen.findLastIndex((seen) => seen.variant.kind === "tuned");
    this.#seen.splice(behind + 1, 0, this.#unseen(variant));
  }

  async #generate(settings: NonNullable<EvaluationJob["generate"]>): Promise<void> {
    const { promptTokens, tokens, temperature } = settings;
    const runner = this.#runner;
    const prompts = this.#documents.map((document) => ({
      domain: document.domain,
      tokens: document.tokens.slice(0, promptTokens),
    }));
    for (const { variant, generated } of this.#seen) {
      runner.use(variant);
      for (let from = 0; from < prompts.length; from += runner.groupSize) {
        const group = prompts.slice(from, from + runner.groupSize);
        const seed = this.#job.seed + from;
        for (const document of runner.generated(group, { tokens, temperature, seed })) generated.add(document);
        this.#tokens += group.length * (promptTokens + tokens);
        await this.#pause(variant);
      }
    }
  }

  /** Other work of the process, such as messages, gets its turn. */
  async #pause(variant: Variant): Promise<void> {
    const { onProgress, signal } = this.#events;
    onProgress?.({ variant: variant.name, tokens: this.#tokens, plannedTokens: this.#plannedTokens() });
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  }

  #plannedTokens(): number {
    const { generate } = this.#job;
    const each = this.documents.tokens;
    const made = generate === undefined ? 0 : this.#documents.length * (generate.promptTokens + generate.tokens);
    return this.#seen.length * (each + made);
  }

  /** Documents whose logits are kept together. */
  #groupSize(): number {
    const vocabulary = this.#runner.gguf.metadata.strings("tokenizer.ggml.tokens").length;
    const bytes = 4 * vocabulary * longestOf(this.#documents);
    const biased = this.#seen.some(({ variant }) => variant.bias !== undefined);
    const most = Math.max(1, Math.floor(KEPT_LOGIT_BYTES / bytes));
    return biased ? Math.min(most, this.#runner.groupSize) : most;
  }

  #figures(context: FiguresContext): VariantFigures[] {
    const sums = this.#seen.map((seen) => ({
      seen,
      forced: seen.forced.sums(),
      generated: this.#job.generate === undefined ? undefined : seen.generated.sums(),
    }));
    const [base] = sums;
    const figures = sums.map(({ seen, forced, generated }): VariantFigures => {
      const { name, kind, method, scale, lambda } = seen.variant;
      const other = seen === base.seen ? undefined : base;
      return {
        ...{ name, kind, method, scale, lambda, swapRate: meanOf(seen.swapRates) },
        forced: localityFigures(forced, other?.forced, context),
        drift: driftFigures(forced, base.forced, joined(seen.kls)),
        domains: this.#byDomain(forced, base.forced, seen.kls, context),
        generated: generated === undefined ? null : localityFigures(generated, other?.generated, context),
        gates: [],
        live: null,
      };
    });
    const [baseFigures] = figures;
    const cachePrior = figures.filter(({ kind }) => kind === "cache-prior");
    return figures.map((own) =>
      own.kind === "tuned" || own.kind === "tuned+cache-prior"
        ? { ...own, gates: judgeGates(own, baseFigures, cachePrior, this.#expertsPerLayer) }
        : own,
    );
  }

  #byDomain(own: VariantSums, base: VariantSums, kls: readonly Float32Array[], { shape }: FiguresContext) {
    return this.documents.domains.map((domain) => {
      const mine = (_: unknown, i: number) => this.#documents[i].domain === domain;
      const part = (sums: VariantSums): VariantSums => ({ ...sums, rows: sums.rows.filter(mine) });
      const at = own.columns;
      const sum = (column: number) => part(own).rows.reduce((total, row) => total + row[column], 0);
      let eor = 0;
      for (let layer = 0; layer < shape.layers; layer++)
        eor += sum(at.overlap + layer) / sum(at.overlapUses + layer) / shape.layers;
      return { domain, eor, drift: driftFigures(part(own), part(base), joined(kls.filter(mine))) };
    });
  }
}

function rowsOf(documents: readonly GivenDocument[]): number {
  return documents.reduce((sum, { tokens }) => sum + tokens.length - 1, 0);
}

function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
