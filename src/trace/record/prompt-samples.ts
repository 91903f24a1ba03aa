/**
 * Prompts as tokens: by the model's chat template or as they are, no longer than wanted. What comes out is what the model is
 * given; which prompts these are was decided before (`src/workload`).
 */
import { type ChatTemplate, chatTemplate, type Vocabulary } from "../../llama/index.ts";
import { type Prompt, promptText } from "../../workload/prompt.ts";
import { RecordingInputError } from "./errors.ts";
import type { PromptFormat, PromptsJob } from "./recording-job.ts";

export interface PromptSample {
  readonly domain: string;
  readonly tokens: Int32Array;
  /** Tokens to generate. */
  readonly decodeTokens: number;
}

export interface PromptSampleOptions {
  /** Tokens of a prompt at most, with the template's and a BOS token. @default all */
  readonly promptTokens?: number | undefined;
  /** Tokens to generate after each. @default as many as each prompt says */
  readonly tokens?: number | undefined;
  /** Tokens of prompt and answer together at most. */
  readonly contextTokens: number;
  /** The model's own template, if it has one. */
  readonly template: string | undefined;
}

/** Templates that show the date must show the same one when a recording is resumed on another day. */
const TEMPLATE_DATE = new Date("2025-01-01T12:00:00Z");

/** @throws RecordingInputError `empty-text`, `sample-length`, `option`; ChatTemplateError */
export function samplePrompts(
  { list, format }: PromptsJob,
  vocabulary: Vocabulary,
  options: PromptSampleOptions,
): PromptSample[] {
  const { contextTokens, promptTokens = Number.POSITIVE_INFINITY } = options;
  const template = list.some((prompt) => isChat(prompt, format))
    ? chatTemplate({ chatTemplate: options.template, vocabulary })
    : undefined;
  return list.map((prompt) => {
    const decodeTokens = options.tokens ?? prompt.outputTokens;
    if (decodeTokens === undefined)
      throw new RecordingInputError(
        "option",
        `The prompt ${prompt.id} does not say how many tokens to generate. Give --decode N.`,
      );
    const tokens =
      template !== undefined && isChat(prompt, format)
        ? chatTokens(prompt, template, vocabulary, promptTokens)
        : textTokens(prompt, vocabulary, promptTokens);
    if (tokens.length + decodeTokens > contextTokens)
      throw new RecordingInputError(
        "sample-length",
        `The prompt ${prompt.id} and its answer would have ${tokens.length} + ${decodeTokens} tokens, but the model was trained ` +
          `for ${contextTokens}. Cut prompts with --prompt-tokens, or give a smaller --decode.`,
      );
    return { domain: prompt.domain, tokens, decodeTokens };
  });
}

function isChat({ content }: Prompt, format: PromptFormat): boolean {
  return format === "given" ? typeof content !== "string" : format === "chat";
}

function textTokens(prompt: Prompt, vocabulary: Vocabulary, most: number): Int32Array {
  const { bos, addsBos } = vocabulary;
  const start = addsBos && bos !== undefined ? [bos] : [];
  const tokens = vocabulary.tokenize(promptText(prompt), { addSpecial: false });
  const kept = Int32Array.from([...start, ...tokens.subarray(0, Math.max(0, most - start.length))]);
  if (kept.length === start.length)
    throw new RecordingInputError("empty-text", `The prompt ${prompt.id} has no tokens. Leave it out.`);
  return kept;
}

/** Of a conversation that is too long, the end of the question goes: the template's own tokens stay whole. */
function chatTokens(prompt: Prompt, template: ChatTemplate, vocabulary: Vocabulary, most: number): Int32Array {
  const { id, content } = prompt;
  const messages =
    typeof content === "string" ? [{ role: "user", content }] : content.map((message) => ({ ...message }));
  const question = messages[messages.length - 1];
  const withQuestion = (text: string) => {
    const turns = [...messages.slice(0, -1), { role: question.role, content: text }];
    return vocabulary.tokenize(template.render(turns, { now: TEMPLATE_DATE }), { parseSpecial: true });
  };
  let tokens = withQuestion(question.content);
  const words = vocabulary.tokenize(question.content, { addSpecial: false });
  for (let kept = words.length; tokens.length > most; ) {
    kept -= tokens.length - most;
    if (kept < 1)
      throw new RecordingInputError(
        "sample-length",
        `The prompt ${id} cannot be cut to ${most} tokens: its template and the turns before its question have more. ` +
          "Give a larger --prompt-tokens.",
      );
    tokens = withQuestion(beginning(question.content, words.subarray(0, kept), vocabulary));
  }
  return tokens;
}

/** The text of the first tokens of `text`, without half a character at its end or a space that was not there. */
function beginning(text: string, tokens: Int32Array, vocabulary: Vocabulary): string {
  const cut = vocabulary.detokenize(tokens).replace(/\uFFFD+$/, "");
  return cut.startsWith(" ") && !text.startsWith(" ") ? cut.slice(1) : cut;
}
