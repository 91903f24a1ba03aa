/**
 * Which samples a recording is to have, in order, and what tells it from a recording of other texts or with other settings.
 * Reads and tokenises the texts; computes nothing.
 */
import { createHash } from "node:crypto";
import { type GgufFile, openGguf } from "../../gguf/index.ts";
import type { Vocabulary } from "../../llama/index.ts";
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
  readonly samples: readonly PlannedSample[];
  /** Of all samples; at most, where the model may end sooner. */
  readonly tokens: number;
  /** SHA-256 of texts and settings: equal for two runs that may complete each other. */
  readonly hash: string;
  readonly texts: readonly SampledText[];
}

/** Tokens of one recorded sample at most. @throws RecordingInputError when the model was not trained for as many */
export function recordedLength(job: RecordingJob): number {
  const { generate, sampleLength } = job;
  const length = generate === undefined ? sampleLength : generate.promptTokens + generate.tokens;
  const trained = trainedContext(openGguf(job.model));
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

/** @throws RecordingInputError, errors of the file system */
export function planRecording(job: RecordingJob, vocabulary: Vocabulary): RecordingPlan {
  const { generate, sampleLength } = job;
  const bos = vocabulary.addsBos ? vocabulary.bos : undefined;
  const given = generate?.promptTokens ?? sampleLength;
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
    bos: bos ?? null,
  };
  return {
    samples,
    tokens: samples.length * (given + (generate?.tokens ?? 0)),
    hash: createHash("sha256").update(JSON.stringify(settings)).digest("hex"),
    texts,
  };
}
