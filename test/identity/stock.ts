/**
 * Stock llama.cpp: the same libraries with their ordinary mapping of the file and no callback. What it says is what
 * the engine has to say.
 */
import { Batch, createContext, loadLibraries, loadModel } from "../../src/llama/index.ts";
import type { Computer } from "./conversation.ts";

export interface StockOptions {
  readonly contextSize: number;
  readonly maxSequences: number;
  readonly microBatchTokens: number;
  readonly threads: number;
}

/** Opens the model, lets `use` compute with it, and closes it again. */
export function withStock<T>(path: string, options: StockOptions, use: (computer: Computer) => T): T {
  const { microBatchTokens, ...sizes } = options;
  // Repacked weights are multiplied by other kernels, whose sums differ in the last bits.
  using model = loadModel(loadLibraries(), path, { repackWeights: false });
  using context = createContext(model, { ...sizes, batchSize: microBatchTokens, microBatchSize: microBatchTokens });
  const decode = (batch: Batch): void => {
    const result = context.decode(batch);
    if (result.status !== "ok") throw new Error(`stock llama.cpp: ${JSON.stringify(result)}`);
  };
  using batch = new Batch({ capacity: microBatchTokens });
  return use({
    context,
    microBatchTokens,
    decode,
    feed(tokens, position, sequence = 0) {
      for (let from = 0; from < tokens.length; from += microBatchTokens) {
        const to = Math.min(from + microBatchTokens, tokens.length);
        batch.clear();
        for (let i = from; i < to; i++) batch.add(tokens[i], position + i, sequence, i === tokens.length - 1);
        decode(batch);
      }
      return context.logits(-1);
    },
  });
}
