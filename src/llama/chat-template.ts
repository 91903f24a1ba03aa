/**
 * Renders conversations with the Jinja template that a GGUF carries (`tokenizer.chat_template`) or that the user gives.
 * There is no list of known formats and no fallback: a template that is missing or fails is an error.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { ChatTemplateError } from "./errors.ts";
import type { Model } from "./model.ts";
import { strftime } from "./strftime.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  /** Whatever else the template reads: tool_calls, name, reasoning_content, ... */
  readonly [key: string]: unknown;
}

export interface RenderOptions {
  /** End with the header of the assistant's answer. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Tool definitions in OpenAI's format. Default none. */
  readonly tools?: readonly unknown[];
  /** Further variables, such as `{ enable_thinking: false }`. Default none. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` shows. Default the current time. */
  readonly now?: Date;
}

export interface SpecialTokenTexts {
  /** Text of the begin and end tokens, empty where the model has none. */
  readonly bos: string;
  readonly eos: string;
  /** Whether the tokeniser adds them itself, so that `render` leaves them out at the two ends. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
}

/**
 * The model's own template, or `source` with the model's special tokens.
 * @throws ChatTemplateError if there is none or it does not parse
 */
export function chatTemplate(
  model: Pick<Model, "chatTemplate" | "vocabulary">,
  source: string | undefined = model.chatTemplate,
): ChatTemplate {
  if (source === undefined) throw new ChatTemplateError("The model has no chat template");
  const { vocabulary } = model;
  return new ChatTemplate(source, {
    bos: vocabulary.bos === undefined ? "" : vocabulary.spelling(vocabulary.bos),
    eos: vocabulary.eos === undefined ? "" : vocabulary.spelling(vocabulary.eos),
    addsBos: vocabulary.addsBos,
    addsEos: vocabulary.addsEos,
  });
}

export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #special: SpecialTokenTexts;

  /** @throws ChatTemplateError if `source` does not parse */
  constructor(source: string, special: SpecialTokenTexts) {
    this.#special = special;
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (cause) {
      throw new ChatTemplateError(`The chat template does not parse (${messageOf(cause)})`, { cause });
    }
  }

  /**
   * The prompt for `messages`, to be tokenised with `addSpecial` and `parseSpecial`.
   * @throws ChatTemplateError if the template refuses these messages or uses what the renderer does not know
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const { addGenerationPrompt = true, tools, variables = {}, now = new Date() } = options;
    const special = this.#special;
    const environment = new Environment();
    const values = {
      ...CONSTANTS,
      raise_exception: refuse,
      strftime_now: (format: string) => strftime(now, format),
      bos_token: special.bos,
      eos_token: special.eos,
      documents: null,
      ...variables,
      messages,
      // null and not absent, as transformers has it: templates ask "tools is not none".
      tools: tools ?? null,
      add_generation_prompt: addGenerationPrompt,
    };
    for (const [name, value] of Object.entries(values)) environment.set(name, value);
    let text: string;
    try {
      text = String(new Interpreter(environment).run(this.#program).value);
    } catch (cause) {
      const verb = cause instanceof Refusal ? "refuses these messages" : "does not render";
      throw new ChatTemplateError(`The chat template ${verb} (${messageOf(cause)})`, { cause });
    }
    // A second begin token degrades answers; llama.cpp drops it likewise (common/chat.cpp:959).
    if (special.addsBos && special.bos !== "" && text.startsWith(special.bos)) text = text.slice(special.bos.length);
    if (special.addsEos && special.eos !== "" && text.endsWith(special.eos)) text = text.slice(0, -special.eos.length);
    return text;
  }
}

/** Thrown by a template's `raise_exception`. */
class Refusal extends Error {}

function refuse(message: string): never {
  throw new Refusal(message);
}

function range(start: number, stop?: number, step = 1): number[] {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  if (step === 0) throw new Error("range() step must not be zero");
  return Array.from({ length: Math.max(0, Math.ceil((end - first) / step)) }, (_, i) => first + i * step);
}

const CONSTANTS = { true: true, True: true, false: false, False: false, none: null, None: null, range };

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
