/**
 * A prompt as the rest of the program sees it, whatever file it came from: a text to continue or a conversation to answer,
 * with a label and, where the request says so, how long the answer is and when it arrives. Data only; nothing is tokenised.
 */

export interface PromptMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

export interface Prompt {
  /** As the file has it, else where it stands there. */
  readonly id: string;
  /** Label of the kind of text, such as "prose". */
  readonly domain: string;
  /** A text that is continued as it is, or a conversation that ends with the user's turn. */
  readonly content: string | readonly PromptMessage[];
  /** Tokens to generate. */
  readonly outputTokens?: number;
  /** When the request comes, from the first one's clock. */
  readonly arrivalMs?: number;
}

/** The text of a prompt without any template: turns stand one below the other. */
export function promptText({ content }: Prompt): string {
  return typeof content === "string" ? content : content.map((message) => message.content).join("\n\n");
}
