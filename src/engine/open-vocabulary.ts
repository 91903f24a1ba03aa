/**
 * A model's tokeniser without the model: its weights are neither read nor mapped, so it takes a moment even when they
 * have many gigabytes. For cutting and counting texts before anything is computed.
 */
import { realpathSync } from "node:fs";
import { openGguf } from "../gguf/index.ts";
import { loadLibraries, loadModel, type Vocabulary } from "../llama/index.ts";
import { captureMappings } from "../memory/model-mapping.ts";

/**
 * Lets `use` work with the vocabulary of a GGUF file, and closes it again.
 * @throws GgufError, ModelLoadError, and what `use` throws
 */
export function withVocabulary<T>(path: string, use: (vocabulary: Vocabulary) => T): T {
  const libraries = loadLibraries();
  const paths = openGguf(path).shards.map((shard) => realpathSync(shard.path));
  const capture = captureMappings(libraries.paths.llama, paths, "reserve");
  try {
    using model = loadModel(libraries, paths.length === 1 ? paths[0] : paths);
    return use(model.vocabulary);
  } finally {
    capture?.restore();
  }
}
