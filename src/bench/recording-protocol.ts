/** What a process of the recording bench is asked, and what it answers. Types only. */

/**
 * - `untraced`: batches with logits for all tokens, as a text is scored, and no callback in the graph.
 * - `recorded`: the same batches through `warmset trace`, into Parquet files on disk.
 * - `last logits`: the batches with logits for their last token only, as a prompt is computed.
 */
export type RecordingMode = "untraced" | "recorded" | "last logits";

export interface RecordingMessage {
  readonly mode: RecordingMode;
  readonly modelPath: string;
  readonly texts: readonly string[];
  readonly sampleLength: number;
  /** Samples of each text. */
  readonly samples: number;
  readonly threads: number;
  /** For the trace; removed by whoever asks. */
  readonly directory: string;
}

export interface RecordingRun {
  readonly tokens: number;
  /** When its batches began and ended, ms since 1970; the process did not run all the time. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly peakRssBytes: number;
}
