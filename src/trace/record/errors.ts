/** What can go wrong with a recording, but for the trace's own files (`TraceError`) and the model's (the engine's errors). */

export type RecordingInputKind =
  | "no-text"
  | "unreadable-text"
  | "empty-text"
  | "short-text"
  | "not-utf8"
  | "sample-length"
  | "other-recording"
  | "option";

/** Texts or settings that no trace can be recorded of. */
export class RecordingInputError extends Error {
  override readonly name = "RecordingInputError";
  readonly kind: RecordingInputKind;

  /** `sentence` says what is wrong and what to do next. */
  constructor(kind: RecordingInputKind, sentence: string) {
    super(sentence);
    this.kind = kind;
  }
}

/** The model's graph does not show what was to be recorded. */
export class RoutingNotSeenError extends Error {
  override readonly name = "RoutingNotSeenError";
  readonly layer: number;

  /** @param layer index among the MoE layers */
  constructor(layer: number, sentence: string) {
    super(`MoE layer ${layer}: ${sentence}`);
    this.layer = layer;
  }
}
