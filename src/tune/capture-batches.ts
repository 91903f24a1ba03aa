/**
 * How many tokens a capture computes at once, and what that reads from the drive. A batch of a few hundred tokens uses nearly all
 * experts of every layer, so a model that streams is read once per batch, however few experts a token has: its batches
 * are as large as a part of the budget allows, with several documents side by side. Arithmetic only.
 */
import type { EngineSettings } from "../engine/engine-settings.ts";
import type { GgufFile, MoeLayout } from "../gguf/index.ts";

export interface CaptureBatches {
  /** Tokens of a batch. */
  readonly rows: number;
  /** Documents of `longest` tokens that are computed in one batch. */
  readonly sideBySide: number;
  readonly streams: boolean;
}

export interface CapturedText {
  /** Tokens of the longest document. */
  readonly longest: number;
  readonly documents: number;
}

const RESIDENT_ROWS = 256;
/** Above, computing takes far longer than reading. */
const MOST_STREAMED_ROWS = 1024;
/** Of the budget, for what grows with the tokens of a batch; the rest is for experts. */
const BATCH_SHARE = 0.25;

export function captureBatches(
  engine: Pick<EngineSettings, "memory" | "microBatchTokens">,
  gguf: GgufFile,
  layout: MoeLayout,
  { longest, documents }: CapturedText,
): CaptureBatches {
  const streams = streamsExperts(engine, gguf, layout);
  const most = longest * documents;
  let rows = Math.min(engine.microBatchTokens ?? RESIDENT_ROWS, streams ? most : longest);
  if (streams && engine.microBatchTokens === undefined && engine.memory.kind === "process") {
    const fitting = Math.floor((BATCH_SHARE * engine.memory.bytes) / rowBytes(gguf, layout));
    rows = Math.min(most, Math.max(RESIDENT_ROWS, Math.min(MOST_STREAMED_ROWS, fitting)));
  }
  // Only whole documents are computed side by side.
  const sideBySide = streams ? Math.max(1, Math.floor(rows / longest)) : 1;
  return { rows: Math.min(rows, sideBySide * longest), sideBySide, streams };
}

/** Bytes that all batches of given text read from the drive, at most. */
export function captureReadBytes(
  { streams, rows, sideBySide }: CaptureBatches,
  layout: MoeLayout,
  { longest, documents }: CapturedText,
): number {
  const passes = sideBySide > 1 ? Math.ceil(documents / sideBySide) : documents * Math.ceil(longest / rows);
  return layout.denseBytes + layout.expertBytesTotal * (streams ? passes : 1);
}

function streamsExperts({ memory }: Pick<EngineSettings, "memory">, gguf: GgufFile, layout: MoeLayout): boolean {
  switch (memory.kind) {
    case "all":
      return false;
    case "experts":
      return memory.bytes < layout.expertBytesTotal;
    case "process":
      return memory.bytes < gguf.fileBytes;
    default:
      return memory satisfies never;
  }
}

/** Of one token of a batch: logits, what is captured of it, and the larger of what its graph computes. */
function rowBytes({ metadata }: GgufFile, { architecture, moeLayers, hiddenSize, expertsUsed }: MoeLayout): number {
  const vocabulary = metadata.strings("tokenizer.ggml.tokens").length;
  const inner = metadata.optionalNumber(`${architecture}.expert_feed_forward_length`) ?? hiddenSize;
  return 4 * (vocabulary + (moeLayers.length + 8) * hiddenSize + 4 * expertsUsed * inner);
}
