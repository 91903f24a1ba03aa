/**
 * Runs documents through one open model as any of its variants: given text in batches, or, where routing depends on what a cache
 * holds, token by token; and text that the variant goes on with. It yields what was seen; figures are made elsewhere.
 */
import type { GateValues } from "../../adapter/index.ts";
import { openSession } from "../../engine/open-session.ts";
import type { SessionOptions } from "../../engine/options.ts";
import type { Session } from "../../engine/session.ts";
import { type GgufFile, openGguf, readMoeLayout } from "../../gguf/index.ts";
import type { RouterStop } from "../../llama/graph-hook.ts";
import { Batch, createSampler } from "../../llama/index.ts";
import type { RoutingShape } from "../../locality/expert-sequence.ts";
import type { CacheBias } from "../../routing/cache-bias.ts";
import { type BaseGate, readBaseGates } from "../router-delta.ts";
import { readRouterRules } from "../router-rule.ts";
import { RouterSwitch } from "../router-switch.ts";
import { BiasedRouting } from "./biased-routing.ts";
import type { GivenDocument } from "./evaluation.ts";
import { type ComparedPrediction, PredictionRows } from "./prediction-rows.ts";
import { type DocumentDrift, type RoutedDocument, repetitionOf } from "./routed-document.ts";
import { ObservedDocument, type ObservedRow, RouterObserver } from "./router-observer.ts";

export interface RunnerOptions {
  readonly model: string;
  /** Tokens of a document at most, what is generated included. */
  readonly documentTokens: number;
  /** Documents that are computed side by side where they go token by token. @default 16 */
  readonly sideBySide?: number;
  /** Caches of cache-prior routing go on from document to document; then `sideBySide` is 1. @default they are emptied */
  readonly warmCaches?: boolean;
  /** Memory, threads, policy and the like. @default all in memory */
  readonly session?: Omit<SessionOptions, "onRouted" | "contextSize" | "maxSequences" | "maxOutputs" | "router">;
}

/** What a variant of the model is made of. */
export interface VariantRouting {
  /** Gates that are not the base's. */
  readonly gates: readonly GateValues[];
  /** Cache-prior routing on caches of so many experts per layer. @default routers choose */
  readonly bias?: { readonly rule: CacheBias; readonly expertsPerLayer: number } | undefined;
}

export interface RunDocument extends RoutedDocument {
  /** KL of each prediction; empty for generated text. */
  readonly kls: Float32Array;
}

export interface GenerationSettings {
  readonly tokens: number;
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** Of the first document; the next ones count on. */
  readonly seed: number;
}

/** Logits of a pass: more of them are not kept at once. */
const LOGIT_BYTES = 2 ** 26;
const SIDE_BY_SIDE = 16;
const MOST_PASS_TOKENS = 512;

export class DocumentRunner implements Disposable {
  readonly gguf: GgufFile;
  readonly shape: RoutingShape;
  /** By MoE layer. */
  readonly baseGates: readonly BaseGate[];
  readonly #session: Session;
  readonly #observer: RouterObserver;
  readonly #switch: RouterSwitch;
  readonly #batch: Batch;
  readonly #passTokens: number;
  readonly #sideBySide: number;
  readonly #documentOfRow: Int32Array;
  readonly #warmCaches: boolean;
  /** By variant, where caches outlive its documents. */
  readonly #warmBias = new Map<VariantRouting, BiasedRouting>();
  #bias: BiasedRouting | undefined;
  #isPrompt = false;

  /** @throws what `openSession` and `readBaseGates` throw */
  constructor(options: RunnerOptions) {
    const { model, documentTokens, warmCaches = false, session = {} } = options;
    const sideBySide = warmCaches ? 1 : (options.sideBySide ?? SIDE_BY_SIDE);
    this.#warmCaches = warmCaches;
    this.gguf = openGguf(model);
    const layout = readMoeLayout(this.gguf);
    const { expertsPerLayer: experts, expertsUsed, moeLayers } = layout;
    this.shape = { layers: moeLayers.length, experts, expertsUsed };
    this.baseGates = readBaseGates(this.gguf, layout);
    const vocabulary = this.gguf.metadata.strings("tokenizer.ggml.tokens").length;
    const passTokens = Math.max(sideBySide, Math.min(MOST_PASS_TOKENS, Math.floor(LOGIT_BYTES / (4 * vocabulary))));
    this.#session = openSession(model, {
      ...session,
      contextSize: documentTokens,
      maxSequences: sideBySide,
      microBatchTokens: passTokens,
      maxOutputs: passTokens,
      onRouted: (stop) => this.#routed(stop),
    });
    this.#passTokens = this.#session.microBatchTokens;
    this.#sideBySide = Math.min(sideBySide, this.#passTokens);
    this.#documentOfRow = new Int32Array(this.#passTokens);
    this.#batch = new Batch({ capacity: this.#passTokens });
    this.#observer = new RouterObserver({
      shape: this.shape,
      baseGates: this.baseGates,
      width: this.baseGates[0].weights.length / experts,
      rules: (scoring) => readRouterRules(this.gguf, layout, scoring),
      passTokens: this.#passTokens,
    });
    this.#switch = new RouterSwitch(this.#session.model, this.baseGates);
  }

  /** Documents that are best given together. */
  get groupSize(): number {
    return this.#sideBySide;
  }

  /** Whether all experts are in memory; else no variant can have a cache bias. */
  get resident(): boolean {
    return this.#session.resident;
  }

  get notes(): readonly string[] {
    return this.#session.notes;
  }

  get observer(): RouterObserver {
    return this.#observer;
  }

  predictionRows(): PredictionRows {
    return new PredictionRows(this.#session.model.vocabulary.size);
  }

  /** What follows is computed as this variant, with new caches; with warm ones, with those that it had. */
  use(variant: VariantRouting): void {
    const { gates, bias } = variant;
    if (bias !== undefined && !this.resident)
      throw new RangeError("Cache-prior routing on simulated caches needs all experts in memory");
    this.#switch.use(this.baseGates);
    this.#switch.use(gates);
    this.#bias = this.#warmBias.get(variant) ?? (bias && this.#biasedRouting(bias));
    if (this.#warmCaches && this.#bias !== undefined) this.#warmBias.set(variant, this.#bias);
  }

  /** Share of the routers' choices that the cache bias has swapped since its caches were new; undefined without one. */
  get swapRate(): number | undefined {
    return this.#bias?.swapRate;
  }

  /**
   * Documents whose tokens are given, at most `groupSize` of them.
   * @param reference receives the rows of the base (`isBase`), or has them
   * @param firstRow where the rows of the first document begin
   */
  forced(documents: readonly GivenDocument[], reference: PredictionRows, isBase: boolean, firstRow = 0): RunDocument[] {
    const seen = documents.map(({ tokens }) => new SeenDocument(this.shape, tokens.length));
    const rowsBefore: number[] = [];
    documents.reduce((sum, { tokens }, i) => {
      rowsBefore[i] = sum;
      return sum + tokens.length - 1;
    }, firstRow);
    const compared: ComparedPrediction = { loss: 0, kl: 0, sameTop: true };
    const predicted = (document: number, position: number, logits: Float32Array) => {
      const next = documents[document].tokens[position + 1];
      if (isBase) compared.loss = reference.keep(logits, next);
      else reference.compare(rowsBefore[document] + position, logits, next, compared);
      seen[document].add(position, compared);
    };
    if (this.#bias === undefined) this.#inBatches(documents, seen, !isBase, predicted);
    else this.#tokenByToken(documents, seen, predicted);
    return documents.map(({ domain, tokens }, i) => seen[i].document(domain, tokens));
  }

  /** What the variant makes of prompts, at most `groupSize` of them; only tokens that it made count. */
  generated(prompts: readonly GivenDocument[], { tokens, temperature, seed }: GenerationSettings): RunDocument[] {
    const { context, model } = this.#session;
    const seen = prompts.map(() => new SeenDocument(this.shape, tokens));
    const made = prompts.map(() => new Int32Array(tokens));
    const samplers = prompts.map((_, i) => createSampler(model, { temperature, seed: (seed + i) % 2 ** 32 }));
    try {
      context.clear();
      if (!this.#warmCaches) this.#bias?.clear();
      for (const [i, prompt] of prompts.entries()) {
        this.#prompt(prompt.tokens, i, seen[i]);
        samplers[i].acceptPrompt(prompt.tokens);
        // The logits of a pass are gone with the next one.
        made[i][0] = samplers[i].sample(context, -1);
      }
      for (let step = 0; step < tokens; step++) {
        this.#step(
          prompts.map((prompt, i) => ({ token: made[i][step], position: prompt.tokens.length + step, i })),
          (i) => ({ document: seen[i].observed, position: step }),
          false,
        );
        if (step + 1 < tokens)
          for (const [i, sampler] of samplers.entries()) made[i][step + 1] = sampler.sample(context, i);
      }
    } finally {
      for (const sampler of samplers) sampler.dispose();
    }
    return prompts.map(({ domain }, i) => seen[i].generated(domain, made[i]));
  }

  [Symbol.dispose](): void {
    this.#batch.dispose();
    this.#session.dispose();
    this.#switch[Symbol.dispose]();
  }

  #biasedRouting({ rule, expertsPerLayer }: NonNullable<VariantRouting["bias"]>): BiasedRouting {
    return new BiasedRouting({
      ...{ bias: rule, shape: this.shape, expertsPerLayer },
      ...{ documents: this.#sideBySide, passTokens: this.#passTokens },
    });
  }

  #inBatches(
    documents: readonly GivenDocument[],
    seen: readonly SeenDocument[],
    compares: boolean,
    predicted: (document: number, position: number, logits: Float32Array) => void,
  ): void {
    const { context } = this.#session;
    for (const [document, { tokens }] of documents.entries()) {
      context.clear();
      for (let from = 0; from < tokens.length; from += this.#passTokens) {
        const to = Math.min(from + this.#passTokens, tokens.length);
        const rows = Array.from({ length: to - from }, (_, i) => ({
          document: seen[document].observed,
          position: from + i,
        }));
        this.#batch.clear();
        for (let i = from; i < to; i++) this.#batch.add(tokens[i], i, 0, true);
        this.#compute(rows, tokens.slice(from, to), true, compares);
        for (let i = from; i < to && i + 1 < tokens.length; i++) predicted(document, i, context.logits(i - from));
      }
    }
  }

  #tokenByToken(
    documents: readonly GivenDocument[],
    seen: readonly SeenDocument[],
    predicted: (document: number, position: number, logits: Float32Array) => void,
  ): void {
    const { context } = this.#session;
    context.clear();
    if (!this.#warmCaches) this.#bias?.clear();
    const longest = Math.max(...documents.map(({ tokens }) => tokens.length));
    for (let position = 0; position < longest; position++) {
      const going = [...documents.keys()].filter((i) => position < documents[i].tokens.length);
      this.#step(
        going.map((i) => ({ token: documents[i].tokens[position], position, i })),
        (i) => ({ document: seen[i].observed, position }),
        true,
      );
      for (const [row, i] of going.entries())
        if (position + 1 < documents[i].tokens.length) predicted(i, position, context.logits(row));
    }
  }

  /** One token of each document. */
  #step(
    tokens: readonly { readonly token: number; readonly position: number; readonly i: number }[],
    rowOf: (document: number) => ObservedRow,
    compares: boolean,
  ): void {
    this.#batch.clear();
    for (const [row, { token, position, i }] of tokens.entries()) {
      this.#batch.add(token, position, i, true);
      this.#documentOfRow[row] = i;
    }
    this.#compute(
      tokens.map(({ i }) => rowOf(i)),
      Int32Array.from(tokens, ({ token }) => token),
      false,
      compares,
    );
  }

  #prompt(tokens: Int32Array, sequence: number, seen: SeenDocument): void {
    for (let from = 0; from < tokens.length; from += this.#passTokens) {
      const to = Math.min(from + this.#passTokens, tokens.length);
      this.#batch.clear();
      // All want logits: else the last layers' routers see fewer tokens.
      for (let i = from; i < to; i++) this.#batch.add(tokens[i], i, sequence, true);
      this.#documentOfRow.fill(sequence, 0, to - from);
      const row = { document: seen.observed, position: -1 };
      this.#compute(new Array<ObservedRow>(to - from).fill(row), tokens.slice(from, to), true, false);
    }
  }

  #compute(rows: readonly ObservedRow[], tokens: Int32Array, isPrompt: boolean, compares: boolean): void {
    this.#isPrompt = isPrompt;
    this.#observer.begin(rows, compares);
    this.#session.decode(this.#batch, isPrompt ? "prefill" : "decode", tokens);
    this.#bias?.finish();
  }

  #routed(stop: RouterStop): void {
    if (this.#bias !== undefined && stop.tokens > 0) {
      const first = this.#observer.firstRow(stop);
      this.#bias.routed(stop, this.#documentOfRow.subarray(first, first + stop.tokens), this.#isPrompt);
    }
    this.#observer.routed(stop);
  }
}

class SeenDocument {
  readonly observed: ObservedDocument;
  readonly #tokens: number;
  readonly #kls: Float32Array;
  #loss = 0;
  #kl = 0;
  #sameTop = 0;

  constructor(shape: RoutingShape, tokens: number) {
    this.observed = new ObservedDocument(shape, tokens);
    this.#tokens = tokens;
    this.#kls = new Float32Array(Math.max(0, tokens - 1));
  }

  add(position: number, { loss, kl, sameTop }: ComparedPrediction): void {
    this.#kls[position] = kl;
    this.#loss += loss;
    this.#kl += kl;
    if (sameTop) this.#sameTop++;
  }

  document(domain: string, tokens: Int32Array): RunDocument {
    const { decisions, trustKl, keptMass, agreement } = this.observed;
    const drift: DocumentDrift = {
      ...{ predictions: this.#kls.length, loss: this.#loss, kl: this.#kl, sameTop: this.#sameTop },
      ...{ decisions, trustKl, keptMass, agreement },
    };
    return { ...this.#routed(domain, tokens), drift, kls: this.#kls };
  }

  generated(domain: string, made: Int32Array): RunDocument {
    return { ...this.#routed(domain, made), drift: undefined, kls: new Float32Array(0) };
  }

  #routed(domain: string, tokens: Int32Array) {
    return { domain, tokens: this.#tokens, experts: this.observed.experts, repetition: repetitionOf(tokens) };
  }
}
