/**
 * What `warmset simulate` reads out of the traced model's file (`--model`) for policies that need more than the trace: rows
 * of the embedding table, and the routers. Opens the file only when a policy asks for it.
 */
import type { PolicyNeeds } from "../cache/policy.ts";
import { headerHash } from "../gguf/header-hash.ts";
import { type GgufFile, openGguf, readMoeLayout, readRouterWeights } from "../gguf/index.ts";
import type { TracedWeights } from "../simulate/sample-signals.ts";
import type { TraceDescription } from "../trace/trace.ts";
import { UsageError } from "./failure.ts";

/** @throws UsageError when the file is of another model or lacks what is needed; GgufError, UnsupportedModelError */
export async function openTracedWeights(
  file: string | undefined,
  { model }: TraceDescription,
  policies: readonly { readonly needs: Pick<PolicyNeeds, "embeddings" | "nextGate"> }[],
): Promise<TracedWeights & Disposable> {
  const wantsEmbeddings = policies.some(({ needs }) => needs.embeddings);
  const wantsRouters = policies.some(({ needs }) => needs.nextGate);
  if (file === undefined || !(wantsEmbeddings || wantsRouters)) return { [Symbol.dispose]: () => {} };
  const gguf = openGguf(file);
  const layout = readMoeLayout(gguf);
  const sameShape =
    layout.moeLayers.length === model.moeBlocks.length &&
    layout.expertsPerLayer === model.experts &&
    layout.moeLayers.every(({ blockIndex }, layer) => blockIndex === model.moeBlocks[layer]);
  if (model.hash === null ? !sameShape : headerHash(gguf) !== model.hash)
    throw new UsageError(
      `--model ${file} is not the traced model: the trace is of ${model.name}${model.hash === null ? "" : ` (header ${model.hash.slice(0, 12)})`}. ` +
        "Give the file that was recorded.",
    );
  const lacks = (what: string) => new UsageError(`--model ${file} cannot serve ${what}.`);
  const routers = wantsRouters ? readRouterWeights(gguf, layout) : undefined;
  if (wantsRouters && routers === undefined) throw lacks("the next layer's gate: its routers are not float32");
  const embeddings = wantsEmbeddings ? await embeddingsOf(gguf) : undefined;
  if (wantsEmbeddings && embeddings === undefined) throw lacks("embedding rows: it has no such table of floats");
  return { embeddings, routers, [Symbol.dispose]: () => embeddings?.[Symbol.dispose]() };
}

/** Native code is loaded only here: other commands start without it. */
async function embeddingsOf(gguf: GgufFile) {
  const [{ openEmbeddingTable }, { loadLibraries }] = await Promise.all([
    import("../llama/embedding-table.ts"),
    import("../llama/index.ts"),
  ]);
  return openEmbeddingTable(loadLibraries(), gguf);
}
