/**
 * Whether stock llama.cpp applies an adapter of routers to a model at all: some architectures compute their routers where
 * adapters are not looked at, and nothing else would say so. One short batch without the adapter and one with it.
 */
import { loadLibraries } from "./libraries.ts";
import { loadLoraAdapter } from "./lora-adapter.ts";
import { loadModel } from "./model.ts";
import { routerLogits } from "./router-logits.ts";

export interface ProbedRouter {
  readonly block: number;
  /** The adapter took part in this router's product. */
  readonly applied: boolean;
  /** Largest change of a logit; of later layers also by what reached them from earlier ones. */
  readonly largestChange: number;
}

export interface AdapterProbe {
  readonly architecture: string;
  /** Routers that the graph shows, by block. */
  readonly routers: readonly ProbedRouter[];
  /** The adapter changed the output of the model. */
  readonly changesOutput: boolean;
}

const PROBE_TOKENS = 16;

/**
 * Loads the whole model, as llama.cpp does.
 * @throws ModelLoadError, AdapterLoadError, ContextCreateError
 */
export function probeAdapter(modelPath: string, adapterPath: string): AdapterProbe {
  using model = loadModel(loadLibraries(), modelPath);
  const adapter = loadLoraAdapter(model, adapterPath);
  const { size } = model.vocabulary;
  // Far from each other, never the special ones at a vocabulary's start.
  const tokens = Int32Array.from({ length: PROBE_TOKENS }, (_, i) => Math.floor((size * (i + 0.5)) / PROBE_TOKENS));
  const base = routerLogits({ model, tokens });
  const adapted = routerLogits({ model, tokens, adapters: [{ adapter, scale: 1 }] });
  const change = (a: Float32Array, b: Float32Array) =>
    a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
  return {
    architecture: model.metadata("general.architecture") ?? "unknown",
    routers: [...base.routers].map(([block, logits]) => ({
      block,
      applied: adapted.adapted.has(block),
      largestChange: change(logits, adapted.routers.get(block) ?? logits),
    })),
    changesOutput: change(base.logits, adapted.logits) > 0,
  };
}
