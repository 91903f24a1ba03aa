/** Texts cut into documents as a recording would cut them, without recording anything. */
import type { EngineSettings } from "../../engine/engine-settings.ts";
import { planRecording } from "../../trace/record/recording-plan.ts";
import type { TextFile } from "../../trace/record/text-samples.ts";
import type { GivenDocument } from "./evaluation.ts";

export interface TextCut {
  readonly texts: readonly TextFile[];
  readonly documentTokens: number;
  /** Documents of each text at most; undefined: all. */
  readonly documents: number | undefined;
}

/** @throws RecordingInputError */
export function cutTexts(model: string, engine: EngineSettings, cut: TextCut): GivenDocument[] {
  const { texts, documentTokens, documents } = cut;
  const plan = planRecording({
    ...{ model, texts, directory: "", resume: false, sampleLength: documentTokens, samples: documents },
    ...{ generate: undefined, probs: false, hidden: false, engine },
  });
  return plan.samples.map(({ domain, tokens }) => ({ domain, tokens: tokens() }));
}
