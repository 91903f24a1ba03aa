/**
 * From one JSON record to a prompt, in the shapes of three kinds of files: ShareGPT's, LMSYS-Chat-1M's, and our own. Which
 * one a record is, its fields say. The answers that such files have are left out: the model gives its own.
 */
import type { Prompt, PromptMessage } from "./prompt.ts";

export interface ShapeOptions {
  /** For records without a label or an id of their own. */
  readonly domain: string;
  readonly id: string;
  /** Only the user's first turn, or all up to the user's last one. */
  readonly turns: "first" | "all";
}

/** The record is no prompt; the message says why, without a place. */
export class UnusableRecord extends Error {}

/** Names of speakers in the known data sets and their derivatives. */
const ROLES: Readonly<Record<string, PromptMessage["role"]>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  system: "system",
};

/** @throws UnusableRecord */
export function promptOf(record: unknown, options: ShapeOptions): Prompt {
  if (typeof record !== "object" || record === null || Array.isArray(record))
    throw new UnusableRecord("It is no JSON object.");
  const fields = record as Readonly<Record<string, unknown>>;
  if (Array.isArray(fields.conversations)) return chat(fields.id, fields.conversations, ["from", "value"], options);
  if (Array.isArray(fields.conversation))
    return chat(fields.conversation_id, fields.conversation, ["role", "content"], options);
  return own(fields, options);
}

function own(fields: Readonly<Record<string, unknown>>, options: ShapeOptions): Prompt {
  const { prompt, messages, id, domain, outputTokens, arrivalMs } = fields;
  if ((prompt === undefined) === (messages === undefined))
    throw new UnusableRecord('It needs "prompt" or "messages" (or "conversations", or "conversation"), and only one.');
  if (domain !== undefined && (typeof domain !== "string" || domain === ""))
    throw new UnusableRecord('"domain" must be a text.');
  if (outputTokens !== undefined && (!Number.isSafeInteger(outputTokens) || (outputTokens as number) < 1))
    throw new UnusableRecord('"outputTokens" must be a whole number from 1 on.');
  if (arrivalMs !== undefined && !(typeof arrivalMs === "number" && arrivalMs >= 0))
    throw new UnusableRecord('"arrivalMs" must be a number from 0 on.');
  return {
    ...(messages === undefined ? text(id, prompt, options) : chat(id, messages, ["role", "content"], options)),
    ...(domain === undefined ? {} : { domain }),
    ...(outputTokens === undefined ? {} : { outputTokens: outputTokens as number }),
    ...(arrivalMs === undefined ? {} : { arrivalMs }),
  };
}

function text(id: unknown, content: unknown, options: ShapeOptions): Prompt {
  if (typeof content !== "string" || content.trim() === "") throw new UnusableRecord('"prompt" must be a text.');
  return { id: idOf(id, options), domain: options.domain, content };
}

function chat(id: unknown, turns: unknown, names: readonly [string, string], options: ShapeOptions): Prompt {
  if (!Array.isArray(turns)) throw new UnusableRecord('"messages" must be a list.');
  const messages = turns.map((turn) => message(turn, names));
  const isQuestion = ({ role, content }: PromptMessage) => role === "user" && content.trim() !== "";
  const last = messages.findLastIndex(isQuestion);
  if (last < 0) throw new UnusableRecord("It has no turn of the user.");
  return {
    id: idOf(id, options),
    domain: options.domain,
    content: options.turns === "all" ? messages.slice(0, last + 1) : [messages.find(isQuestion) as PromptMessage],
  };
}

function message(turn: unknown, [speaker, said]: readonly [string, string]): PromptMessage {
  const fields = (typeof turn === "object" && turn !== null ? turn : {}) as Readonly<Record<string, unknown>>;
  const { [speaker]: name, [said]: content } = fields;
  if (typeof name !== "string" || typeof content !== "string")
    throw new UnusableRecord(`A turn needs the texts "${speaker}" and "${said}".`);
  const role = Object.hasOwn(ROLES, name) ? ROLES[name] : undefined;
  if (role === undefined)
    throw new UnusableRecord(`"${speaker}" is ${JSON.stringify(name)}; known are ${Object.keys(ROLES).join(", ")}.`);
  return { role, content };
}

function idOf(id: unknown, options: ShapeOptions): string {
  return typeof id === "string" || typeof id === "number" ? String(id) : options.id;
}
