/**
 * What an evaluation of tuned routers is asked for and what it says: plain data, because it goes to a process of its own, into a
 * file, and to the report.
 */
import type { EngineSettings } from "../../engine/engine-settings.ts";
import type { TextFile } from "../../trace/record/text-samples.ts";
import type { DriftFigures, LocalityFigures } from "./figures.ts";
import type { LiveFigures } from "./live-figures.ts";
import type { JudgedGate } from "./ship-gates.ts";

export interface RouterVariant {
  readonly name: string;
  /** An adapter, a safetensors file, or a model whose routers were tuned. */
  readonly path: string;
  readonly scale: number;
}

export interface EvaluationJob {
  readonly model: string;
  readonly routers: readonly RouterVariant[];
  /** Lambdas of cache-prior routing, each a variant of its own. */
  readonly cacheBias: readonly number[];
  /** Cache-prior routing on top of the tuned routers too. */
  readonly combine: boolean;
  /** Also a random change of the gates that strays as far (in trust KL) as the first tuned ones. */
  readonly random: boolean;
  readonly text: EvaluatedText;
  /** What variants go on with from the start of each document; undefined: nothing is generated. */
  readonly generate: GeneratedText | undefined;
  /** C of the deployment: what gates are judged at, and what cache-prior routing sees. A share of the experts, 0 to 1. */
  readonly cacheShare: number;
  /** Caches go on from document to document, of which there is then one at a time. @default they are emptied */
  readonly warmCaches?: boolean | undefined;
  readonly seed: number;
  readonly engine: EngineSettings;
}

/** What every variant is given: texts that are cut into documents of so many tokens, or documents of tokens. */
export type EvaluatedText =
  | {
      readonly kind: "texts";
      readonly texts: readonly TextFile[];
      readonly documentTokens: number;
      /** Documents of each text at most. */
      readonly documents: number | undefined;
    }
  | { readonly kind: "tokens"; readonly documents: readonly GivenDocument[] };

export interface GivenDocument {
  readonly domain: string;
  readonly tokens: Int32Array;
}

export interface GeneratedText {
  readonly promptTokens: number;
  readonly tokens: number;
  /** 0: the likeliest token each time. */
  readonly temperature: number;
}

export type VariantKind = "base" | "noise-floor" | "tuned" | "random" | "cache-prior" | "tuned+cache-prior";

export interface VariantFigures {
  readonly name: string;
  readonly kind: VariantKind;
  /** What made the routers, such as "closed-form"; null of the base's. */
  readonly method: string | null;
  readonly scale: number | null;
  readonly lambda: number | null;
  /** Share of the routers' choices that the cache bias swapped. */
  readonly swapRate: number | null;
  readonly forced: LocalityFigures;
  readonly drift: DriftFigures;
  readonly domains: readonly { readonly domain: string; readonly eor: number; readonly drift: DriftFigures }[];
  readonly generated: LocalityFigures | null;
  /** Judged for what could ship; empty for the base and for controls. */
  readonly gates: readonly JudgedGate[];
  readonly live: LiveFigures | null;
}

export interface EvaluationResult {
  readonly kind: "tune-eval";
  readonly warmset: string;
  readonly date: string;
  readonly command: string;
  readonly model: {
    readonly name: string;
    readonly architecture: string;
    readonly layers: number;
    readonly experts: number;
    readonly expertsUsed: number;
    readonly expertBytes: number;
  };
  /** C that gates are judged at. */
  readonly deploymentExperts: number;
  /** Whether caches went on from document to document. */
  readonly warmCaches: boolean;
  readonly documents: { readonly count: number; readonly tokens: number; readonly domains: readonly string[] };
  readonly generate: GeneratedText | null;
  readonly variants: readonly VariantFigures[];
  readonly live: LiveConditions | null;
  readonly notes: readonly string[];
  readonly seconds: number;
}

/** How the engine was run for figures of time and bytes. */
export interface LiveConditions {
  readonly modelFile: string;
  readonly cacheShare: number;
  readonly requests: number;
  readonly tokensPerRequest: number;
  readonly runs: number;
  readonly threads: number;
  readonly policy: string;
}

export interface EvaluationProgress {
  readonly variant: string;
  /** Tokens computed, of all variants. */
  readonly tokens: number;
  readonly plannedTokens: number;
}
