/**
 * The turns of a chat and how many tokens each takes, so that old turns can be forgotten before the context is full.
 * Pure; it neither tokenises nor generates.
 */
import type { ChatMessage } from "../llama/chat-template.ts";

interface Turn {
  readonly messages: readonly ChatMessage[];
  /** Tokens that the prompt and the answer of this turn added. */
  readonly tokens: number;
}

/** Share of the context that is kept free for the next question's answer. */
const FREE_SHARE = 1 / 4;

export class Conversation {
  #turns: Turn[] = [];

  /** All messages that are remembered, with the next question at the end. */
  with(question: string): ChatMessage[] {
    return [...this.#turns.flatMap(({ messages }) => messages), { role: "user", content: question }];
  }

  get turns(): number {
    return this.#turns.length;
  }

  /** Remembers a question and its answer; `contextTokens` is what prompt and answer took together. */
  add(question: string, answer: string, contextTokens: number): void {
    const before = this.#turns.reduce((sum, { tokens }) => sum + tokens, 0);
    this.#turns.push({
      messages: [
        { role: "user", content: question },
        { role: "assistant", content: answer },
      ],
      tokens: Math.max(0, contextTokens - before),
    });
  }

  clear(): void {
    this.#turns = [];
  }

  /** Forgets the oldest turns until a question of `questionTokens` and an answer have room. Returns how many. */
  makeRoom(questionTokens: number, contextSize: number): number {
    const limit = contextSize * (1 - FREE_SHARE) - questionTokens;
    let used = this.#turns.reduce((sum, { tokens }) => sum + tokens, 0);
    let forgotten = 0;
    while (used > limit && forgotten < this.#turns.length) used -= this.#turns[forgotten++].tokens;
    this.#turns.splice(0, forgotten);
    return forgotten;
  }

  /** Forgets the oldest turn; false when there is none. */
  forgetOldest(): boolean {
    return this.#turns.shift() !== undefined;
  }
}
