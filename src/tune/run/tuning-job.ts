/** What tuning is asked to do and what it says of itself: plain data, because it goes to a process of its own and into files. */
import type { EngineSettings } from "../../engine/engine-settings.ts";
import type { GenerateSettings } from "../../trace/record/recording-job.ts";
import type { TextFile } from "../../trace/record/text-samples.ts";
import type { EvaluationResult } from "../eval/evaluation.ts";
import type { ResidencyTarget, RoutingWeights } from "../objective/index.ts";

export type TuneMethod = "full" | "local" | "closed-form";

/** What is tuned on. */
export type TuningText =
  | {
      readonly kind: "texts";
      readonly texts: readonly TextFile[];
      /** Tokens of a document; of generated text, from one start to the next. */
      readonly documentTokens: number;
      /** Documents of each text at most. */
      readonly documents: number | undefined;
      /** Let the model go on from the start of each document. */
      readonly generate: GenerateSettings | undefined;
    }
  /** A recorded trace with its tokens. Inputs that it has are used in the first sweep. */
  | { readonly kind: "trace"; readonly directory: string };

export interface TuningJob {
  readonly model: string;
  readonly method: TuneMethod;
  /** Adapter (.gguf) or whole matrices (.safetensors). */
  readonly out: string;
  readonly text: TuningText;
  /** Share of the documents that nothing is tuned on, 0 to 1: what is reported is measured there. */
  readonly heldOutShare: number;
  /** delta: mean KL of a layer's distribution from the frozen gate's, nats a token. */
  readonly trustBudget: number;
  /** Capture and tune so many times; of "local" and "closed-form". */
  readonly sweeps: number;
  readonly local: LocalSettings;
  readonly full: FullSettings;
  /** mu of "closed-form". */
  readonly mus: readonly number[];
  /** C of the deployment, as a share of the experts. */
  readonly cacheShare: number;
  readonly checkpoint: { readonly directory: string; readonly resume: boolean } | undefined;
  /** Measure the result on documents held out. */
  readonly evaluate: boolean;
  readonly threads: number;
  readonly seed: number;
  readonly engine: EngineSettings;
}

export interface LocalSettings extends ObjectiveSettings {
  readonly steps: number;
}

export interface ObjectiveSettings {
  readonly weights: RoutingWeights;
  /** The weight of trust follows the budget; false keeps it where it starts. */
  readonly adaptTrust: boolean;
  readonly residencyTarget: ResidencyTarget;
  readonly window: number;
  readonly promptWeight: number;
  /** Of the overlap term, in units of logits. */
  readonly temperature: number;
}

export interface FullSettings extends ObjectiveSettings {
  readonly steps: number;
  readonly stepTokens: number;
  readonly sequenceTokens: number;
  readonly task: "ce" | "kd" | "half" | "none";
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly warmupLocality: number;
  readonly couple: boolean;
  /** KL of the predictions that the weights of the locality terms are held to, nats a token; undefined: they stay. */
  readonly divergenceBudget: number | undefined;
  /** Whether the learning rate falls along half a cosine to the last step. */
  readonly decay: boolean;
  /** Whether to end with an error where routing collapses. */
  readonly stopOnCollapse: boolean;
}

export interface TuningEstimate {
  /** One sentence each, before anything is computed. */
  readonly sentences: readonly string[];
}

export type TuningProgress =
  | {
      readonly step: "capturing";
      readonly sweep: number;
      readonly sweeps: number;
      readonly tokens: number;
      readonly of: number;
    }
  | {
      readonly step: "tuning";
      readonly sweep: number;
      readonly sweeps: number;
      readonly tokens: number;
      readonly of: number;
    }
  | {
      readonly step: "training";
      readonly done: number;
      readonly of: number;
      readonly crossEntropy: number;
      readonly eor: number;
      readonly trustKl: number | undefined;
      /** KL of the predictions, of a task that distils. */
      readonly divergence: number | undefined;
    }
  | { readonly step: "measuring"; readonly tokens: number; readonly of: number };

export interface TuningSummary {
  readonly out: string;
  readonly method: string;
  readonly architecture: string;
  readonly documents: number;
  readonly heldOutDocuments: number;
  readonly tokens: number;
  /** Layers whose gates changed. */
  readonly layersTuned: number;
  readonly layers: readonly TunedLayerFigures[];
  readonly sweeps: number;
  /** Of "full": steps done, and how many of them changed nothing. */
  readonly steps: number;
  readonly skippedSteps: number;
  /** On documents held out: base, and the result at several scales; null when that was not wanted. */
  readonly evaluation: EvaluationResult | null;
  /** Largest of the measured scales at which predictions stay within their bounds; null: not measured, or at none. */
  readonly recommendedScale: number | null;
  readonly seconds: number;
  readonly peakRssBytes: number | undefined;
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
}

/** Of one layer, on captured inputs of documents held out; undefined in "full", which has none. */
export interface TunedLayerFigures {
  readonly block: number;
  readonly trustKl: number;
  readonly eor: number;
  readonly baseEor: number;
  /** Of "closed-form". */
  readonly mu: number | null;
}
