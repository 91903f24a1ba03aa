/** What a recording is asked to do and what it says of itself: plain data, because it goes to a process of its own. */
import type { EngineSettings } from "../../engine/engine-settings.ts";
import type { Prompt } from "../../workload/prompt.ts";
import type { TextFile } from "./text-samples.ts";

export interface RecordingJob {
  readonly model: string;
  /** Empty when `prompts` are recorded. */
  readonly texts: readonly TextFile[];
  /** Each is a sample, with what the model goes on with. */
  readonly prompts?: PromptsJob | undefined;
  /** Sentences for the trace's description. */
  readonly notes?: readonly string[] | undefined;
  readonly directory: string;
  /** Go on with what an interrupted recording left. */
  readonly resume: boolean;
  /** Tokens of a sample of given text; of generated text, tokens from one prompt's start to the next one's. */
  readonly sampleLength: number;
  /** Samples of each text at most. */
  readonly samples: number | undefined;
  /** Undefined when texts are given to the model as they are. */
  readonly generate: GenerateSettings | undefined;
  readonly probs: boolean;
  readonly hidden: boolean;
  readonly engine: EngineSettings;
}

export interface PromptsJob {
  readonly list: readonly Prompt[];
  readonly format: PromptFormat;
}

/** Conversations by the model's chat template and texts as they are, or all prompts in one of the two ways. */
export type PromptFormat = "given" | "chat" | "raw";

export interface GenerateSettings {
  /** Tokens from the start of a text, or of a prompt at most; undefined: all of a prompt. */
  readonly promptTokens: number | undefined;
  /** Tokens to generate; undefined: as many as each prompt says. */
  readonly tokens: number | undefined;
  readonly ignoreEndOfGeneration: boolean;
  /** 0 always takes the most likely token, and nothing is drawn. */
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  /** Of the first sample; each later one has the next number. */
  readonly seed: number;
}

/** How far a recording is. */
export interface RecordingProgress {
  /** Whole samples in the trace, those of an earlier run included. */
  readonly samples: number;
  readonly plannedSamples: number;
  /** Tokens in the trace, and what they will be at most. */
  readonly tokens: number;
  readonly plannedTokens: number;
  /** Samples that a kill would leave now. */
  readonly safeSamples: number;
}

export interface RecordingSummary {
  readonly directory: string;
  readonly samples: number;
  readonly tokens: number;
  /** Of those, tokens that were recorded now and not in an earlier run. */
  readonly tokensNow: number;
  /** Time for them, from the first batch on; without loading the model. */
  readonly recordingMs: number;
  readonly loadMs: number;
  /** Mean loss of the tokens recorded now; undefined when none had a next token. */
  readonly meanLoss: number | undefined;
  readonly domains: readonly { readonly domain: string; readonly samples: number }[];
  /** All experts were in memory; nothing was streamed. */
  readonly resident: boolean;
  readonly microBatchTokens: number;
  readonly peakRssBytes: number | undefined;
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
}
