/**
 * The tokens of a bench: held-out text of every domain, cut into windows of a prompt and the tokens that are forced
 * after it. Greedy text of a small model falls into loops, which flatter every cache; the next token of a real text
 * does not, and it is the same for every contender. Pure but for finding and reading the files.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

export interface HeldOutText {
  /** File name without its ending, such as `prose`. */
  readonly domain: string;
  readonly text: string;
}

/** One sequence: the first `promptTokens` of `tokens` are prefilled at once, the others follow one by one. */
export interface TokenWindow {
  readonly domain: string;
  readonly promptTokens: number;
  readonly tokens: readonly number[];
}

export interface WindowOptions {
  /** Tokens of the prompt. @default 8 */
  readonly promptTokens?: number;
  /**
   * Tokens of the prompts of the second window and those after it. A prompt reads several times what a token does, so
   * with many domains prompts would take most of a bench that counts tokens. @default as many as in the first one
   */
  readonly laterPromptTokens?: number;
  /** Forced tokens of all windows together; rounded up to the same number in each. @default 256 */
  readonly decodeTokens?: number;
  /** Longest window, tokens: what the model was trained for. @default 512 */
  readonly contextTokens?: number;
}

/** A text is shorter than the window that should be cut out of it. */
export class HeldOutTextTooShortError extends Error {
  override readonly name = "HeldOutTextTooShortError";
  readonly domain: string;
  readonly neededTokens: number;
  readonly foundTokens: number;

  constructor(domain: string, neededTokens: number, foundTokens: number) {
    super(
      `The text ${domain} has ${foundTokens} tokens, but each window needs ${neededTokens}. ` +
        "Give a longer text or ask for fewer tokens.",
    );
    this.domain = domain;
    this.neededTokens = neededTokens;
    this.foundTokens = foundTokens;
  }
}

/**
 * Texts of the given folders that exist, one per domain (the first folder wins), in alphabetical order. Files are
 * `<domain>.txt`, UTF-8.
 */
export function readHeldOutTexts(folders: readonly string[]): HeldOutText[] {
  const files = new Map<string, string>();
  for (const folder of folders) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const domain = path.basename(name, ".txt");
      if (name.endsWith(".txt") && !files.has(domain)) files.set(domain, path.join(folder, name));
    }
  }
  return [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([domain, file]) => ({ domain, text: readFileSync(file, "utf8") }));
}

/** One window per domain, from the middle of its text, in the order of the texts. */
export function cutWindows(
  texts: readonly { readonly domain: string; readonly tokens: ArrayLike<number> }[],
  options: WindowOptions = {},
): TokenWindow[] {
  const { promptTokens = 8, decodeTokens = 256, contextTokens = 512 } = options;
  const laterPromptTokens = options.laterPromptTokens ?? promptTokens;
  if (texts.length === 0) throw new RangeError("No held-out text to cut windows from");
  const forced = Math.min(Math.ceil(decodeTokens / texts.length), contextTokens - promptTokens);
  if (Math.min(promptTokens, laterPromptTokens) < 1 || forced < 1)
    throw new RangeError(
      `A prompt of ${promptTokens} and ${decodeTokens} tokens do not fit a context of ${contextTokens}`,
    );
  return texts.map(({ domain, tokens }, index) => {
    const prompt = index === 0 ? promptTokens : laterPromptTokens;
    const length = prompt + forced;
    if (tokens.length < length) throw new HeldOutTextTooShortError(domain, length, tokens.length);
    const start = Math.floor((tokens.length - length) / 2);
    return { domain, promptTokens: prompt, tokens: Array.from({ length }, (_, i) => tokens[start + i]) };
  });
}
