/**
 * Held-out texts to tokens with the model's own tokeniser. The model's weights are neither read nor mapped for it:
 * they may have many gigabytes, and pages that this process maps could not be dropped from the page cache.
 */
import { withVocabulary } from "../engine/open-vocabulary.ts";
import type { HeldOutText } from "./held-out.ts";

export interface TokenizedText {
  readonly domain: string;
  readonly tokens: Int32Array;
}

export function tokenizeTexts(modelPath: string, texts: readonly HeldOutText[]): TokenizedText[] {
  return withVocabulary(modelPath, (vocabulary) =>
    texts.map(({ domain, text }) => ({ domain, tokens: vocabulary.tokenize(text, { addSpecial: false }) })),
  );
}
