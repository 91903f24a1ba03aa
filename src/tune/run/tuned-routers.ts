/** What the parts of a tuning run hand to each other: how documents are split, what is told on the way, what comes out. */
import type { SessionEvents } from "../../engine/engine-settings.ts";
import type { CaptureDocument } from "../capture-documents.ts";
import type { RouterDelta } from "../router-delta.ts";
import type { TunedLayerFigures, TuningEstimate, TuningProgress } from "./tuning-job.ts";

export interface TuningEvents extends SessionEvents {
  readonly onEstimate?: ((estimate: TuningEstimate) => void) | undefined;
  readonly onProgress?: ((progress: TuningProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Gates that a method has made. */
export interface TunedRouters {
  readonly delta: RouterDelta;
  readonly layers: readonly TunedLayerFigures[];
  /** As they were computed, with what was generated, in the order of the split. */
  readonly documents: readonly CaptureDocument[];
  readonly steps: number;
  readonly skippedSteps: number;
  readonly resident: boolean;
  readonly notes: readonly string[];
}

export interface DocumentSplit {
  readonly training: readonly number[];
  readonly heldOut: readonly number[];
}
