/**
 * Which samples a recording is to have, in order, and what tells it from a recording of other texts or with other settings.
 * Reads and tokenises the texts; reads no weights and computes nothing.
 */
import { createHash } from "node:crypto";
import { withVocabulary } from "../../engine/open-vocabulary.ts";
import { type GgufFile, type MoeLayout, openGguf, readMoeLayout } from "../../gguf/index.ts";
import type { Vocabulary } from "../../llama/index.ts";
import { RecordingInputError } from "./errors.ts";
import { samplePrompts } from "./prompt-samples.ts";
import type { PromptsJob, RecordingJob } from "./recording-job.ts";
import { sampleText } from "./text-samples.ts";

export interface PlannedSample {
  readonly domain: string;
  /** Tokens that are given to the model. */
  readonly length: number;
  /** What is given to the model: the whole sample, or the prompt that it goes on from. */
  readonly tokens: () => Int32Array;
  /** Tokens that the model goes on for; 0 where the whole sample is given. */
  readonly decodeTokens: number;
}

export interface RecordingPlan {
  readonly job: RecordingJob;
  readonly layout: MoeLayout;
  /** Tokens of one recorded sample at most. */
  readonly length: number;
  /** Samples begin with the model's BOS token. */
  readonly hasBos: boolean;
  readonly samples: readonly PlannedSample[];
  /** Of all samples; at most, where the model may end sooner. */
  readonly tokens: number;
  /** Tokens at the ends of texts that are too few for a sample. */
  readonly unusedTokens: number;
  /** SHA-256 of texts and settings: equal for two runs that may complete each other. */
  readonly hash: string;
}

/** What the texts or prompts of a job come to. */
interface PlannedSamples {
  readonly samples: readonly PlannedSample[];
  readonly unusedTokens: number;
  /** All that decides what is recorded. */
  readonly settings: object;
}

/** Of a text, unless the job says another number. */
const DEFAULT_PROMPT_TOKENS = 32;

/** @throws RecordingInputError, GgufError, UnsupportedModelError, ModelLoadError, ChatTemplateError */
export function planRecording(job: RecordingJob): RecordingPlan {
  const gguf = openGguf(job.model);
  const layout = readMoeLayout(gguf);
  const { prompts } = job;
  // Too long a sample is said before a long text is read.
  if (prompts === undefined) checkTextSample(job, gguf);
  return withVocabulary(job.model, (vocabulary) => {
    const { samples, unusedTokens, settings } =
      prompts === undefined ? textSamples(job, vocabulary) : promptSamples(job, prompts, gguf, vocabulary);
    const lengths = samples.map((sample) => sample.length + sample.decodeTokens);
    return {
      job,
      layout,
      length: lengths.reduce((most, length) => Math.max(most, length), 0),
      hasBos: vocabulary.addsBos && vocabulary.bos !== undefined,
      samples,
      tokens: lengths.reduce((sum, length) => sum + length, 0),
      unusedTokens,
      hash: createHash("sha256")
        .update(JSON.stringify(withRouter(job, settings)))
        .digest("hex"),
    };
  });
}

/** Other routers are another model. */
function withRouter({ engine: { router } }: RecordingJob, settings: object): object {
  return router === undefined ? settings : { ...settings, router: [router.path, router.scale ?? 1] };
}

function textSamples(job: RecordingJob, vocabulary: Vocabulary): PlannedSamples {
  const { generate, sampleLength } = job;
  const bos = vocabulary.addsBos ? vocabulary.bos : undefined;
  const { given, decodeTokens } = textSampleLengths(job);
  const cut = { stride: Math.max(sampleLength, given), length: given, samples: job.samples, bos };
  const texts = job.texts.map((text) => sampleText(text, vocabulary, cut));
  return {
    samples: texts.flatMap((text) =>
      Array.from({ length: text.samples }, (_, i) => ({
        domain: text.domain,
        length: given,
        tokens: () => text.sample(i),
        decodeTokens,
      })),
    ),
    // Between the starts of prompts most of a text is left out anyway.
    unusedTokens: generate === undefined ? texts.reduce((sum, text) => sum + text.unusedTokens, 0) : 0,
    settings: {
      texts: texts.map(({ domain, hash }) => ({ domain, hash })),
      sampleLength,
      samples: job.samples ?? null,
      generate: generate === undefined ? null : { ...generate, promptTokens: given },
    },
  };
}

function promptSamples(
  { generate }: RecordingJob,
  prompts: PromptsJob,
  gguf: GgufFile,
  vocabulary: Vocabulary,
): PlannedSamples {
  const sampled = samplePrompts(prompts, vocabulary, {
    promptTokens: generate?.promptTokens,
    tokens: generate?.tokens,
    contextTokens: trainedContext(gguf),
    template: gguf.metadata.optionalString("tokenizer.chat_template"),
  });
  const hash = createHash("sha256");
  for (const { tokens } of sampled) hash.update(tokens);
  return {
    samples: sampled.map(({ domain, tokens, decodeTokens }) => ({
      domain,
      length: tokens.length,
      tokens: () => tokens,
      decodeTokens,
    })),
    unusedTokens: 0,
    settings: {
      prompts: sampled.map(({ domain, tokens, decodeTokens }) => [domain, tokens.length, decodeTokens]),
      hash: hash.digest("hex"),
      generate: generate ?? null,
    },
  };
}

/** Tokens of a text's sample that are given to the model, and that it goes on for. */
function textSampleLengths({ generate, sampleLength }: RecordingJob): { given: number; decodeTokens: number } {
  return generate === undefined
    ? { given: sampleLength, decodeTokens: 0 }
    : { given: generate.promptTokens ?? DEFAULT_PROMPT_TOKENS, decodeTokens: generate.tokens ?? 0 };
}

function checkTextSample(job: RecordingJob, gguf: GgufFile): void {
  const { given, decodeTokens } = textSampleLengths(job);
  const length = given + decodeTokens;
  const trained = trainedContext(gguf);
  if (length > trained)
    throw new RecordingInputError(
      "sample-length",
      `A sample would have ${length} tokens, but the model was trained for ${trained}. ` +
        (job.generate === undefined
          ? `Give --sample-length ${trained} or less.`
          : `Give --prompt-tokens and --decode with at most ${trained} together.`),
    );
}

function trainedContext({ metadata }: GgufFile): number {
  const key = `${metadata.string("general.architecture")}.context_length`;
  return metadata.optionalNumber(key) ?? Number.POSITIVE_INFINITY;
}
