/**
 * Which samples a recording is to have, in order, and what tells it from a recording of other texts or with other settings.
 * Reads and tokenises the texts; reads no weights and computes nothing.
 */
import { createHash } from "node:crypto";
import { withVocabulary } from "../../engine/open-vocabulary.ts";
import { type GgufFile, type MoeLayout, openGguf, readMoeLayout } from "../../gguf/index.ts";
import { RecordingInputError } from "./errors.ts";
import type { RecordingJob } from "./recording-job.ts";
import { type SampledText, sampleText } from "./text-samples.ts";

export interface PlannedSample {
  readonly domain: string;
  /** Tokens that are given to the model. */
  readonly length: number;
  /** What is given to the model: the whole sample, or the prompt that it goes on from. */
  readonly tokens: () => Int32Array;
}

export interface RecordingPlan {
  readonly job: RecordingJob;
  readonly layout: MoeLayout;
  /** Tokens of one recorded sample at most. */
  readonly length: number;
  /** Samples begin with the model's BOS token. */
  readonly hasBos: boolean;
  readonly texts: readonly SampledText[];
  readonly samples: readonly PlannedSample[];
  /** Of all samples; at most, where the model may end sooner. */
  readonly tokens: number;
  /** SHA-256 of texts and settings: equal for two runs that may complete each other. */
  readonly hash: string;
}

/** @throws RecordingInputError, GgufError, UnsupportedModelError, ModelLoadError */
export function planRecording(job: RecordingJob): RecordingPlan {
  const { generate, sampleLength } = job;
  const gguf = openGguf(job.model);
  const layout = readMoeLayout(gguf);
  const length = recordedLength(job, gguf);
  const given = generate?.promptTokens ?? sampleLength;
  return withVocabulary(job.model, (vocabulary) => {
    const bos = vocabulary.addsBos ? vocabulary.bos : undefined;
    const cut = { stride: Math.max(sampleLength, given), length: given, samples: job.samples, bos };
    const texts = job.texts.map((text) => sampleText(text, vocabulary, cut));
    const samples = texts.flatMap((text) =>
      Array.from({ length: text.samples }, (_, i) => ({
        domain: text.domain,
        length: given,
        tokens: () => text.sample(i),
      })),
    );
    const settings = {
      texts: texts.map(({ domain, hash }) => ({ domain, hash })),
      sampleLength,
      samples: job.samples ?? null,
      generate: generate ?? null,
    };
    return {
      job,
      layout,
      length,
      hasBos: bos !== undefined,
      texts,
      samples,
      tokens: samples.length * length,
      hash: createHash("sha256").update(JSON.stringify(settings)).digest("hex"),
    };
  });
}

function recordedLength({ generate, sampleLength }: RecordingJob, gguf: GgufFile): number {
  const length = generate === undefined ? sampleLength : generate.promptTokens + generate.tokens;
  const trained = trainedContext(gguf);
  if (length > trained)
    throw new RecordingInputError(
      "sample-length",
      `A sample would have ${length} tokens, but the model was trained for ${trained}. ` +
        (generate === undefined
          ? `Give --sample-length ${trained} or less.`
          : `Give --prompt-tokens and --decode with at most ${trained} together.`),
    );
  return length;
}

function trainedContext({ metadata }: GgufFile): number {
  const key = `${metadata.string("general.architecture")}.context_length`;
  return metadata.optionalNumber(key) ?? Number.POSITIVE_INFINITY;
}
