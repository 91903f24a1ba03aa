/**
 * Held-out texts to tokens with the model's own tokeniser. The model's weights are neither read nor mapped for it:
 * they may have many gigabytes, and pages that this process maps could not be dropped from the page cache.
 */
import { realpathSync } from "node:fs";
import { openGguf } from "../gguf/index.ts";
import { loadLibraries, loadModel } from "../llama/index.ts";
import { captureMappings } from "../memory/model-mapping.ts";
import type { HeldOutText } from "./held-out.ts";

export interface TokenizedText {
  readonly domain: string;
  readonly tokens: Int32Array;
}

export function tokenizeTexts(modelPath: string, texts: readonly HeldOutText[]): TokenizedText[] {
  const libraries = loadLibraries();
  const paths = openGguf(modelPath).shards.map(({ path }) => realpathSync(path));
  const capture = captureMappings(libraries.paths.llama, paths, "reserve");
  try {
    using model = loadModel(libraries, paths.length === 1 ? paths[0] : paths);
    return texts.map(({ domain, text }) => ({
      domain,
      tokens: model.vocabulary.tokenize(text, { addSpecial: false }),
    }));
  } finally {
    capture?.restore();
  }
}
