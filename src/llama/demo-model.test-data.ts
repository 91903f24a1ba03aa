/**
 * The demo model that ships with the project, for the tests of the native edge, and the least that they need to decode
 * with it. Not an engine: no stopping, no context shift.
 */
import { join } from "node:path";
import { Batch } from "./batch.ts";
import { type Context, type ContextOptions, createContext } from "./context.ts";
import { loadLibraries } from "./libraries.ts";
import { loadModel, type Model } from "./model.ts";

export const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");

export const loadDemoModel = (): Model => loadModel(loadLibraries(), DEMO_MODEL);

/** One thread: ggml's threads spin at barriers, so that on busy cores two take many times as long. */
export const smallContext = (model: Model, options: Partial<ContextOptions> = {}): Context =>
  createContext(model, { contextSize: 512, threads: 1, ...options });

/** Adds `tokens` at the positions from `from` on; only the last wants logits, and its index is returned. */
export function addPrompt(batch: Batch, tokens: ArrayLike<number>, sequence = 0, from = 0): number {
  let index = -1;
  for (let i = 0; i < tokens.length; i++) index = batch.add(tokens[i], from + i, sequence, i === tokens.length - 1);
  return index;
}

/** Decodes `tokens` into an empty sequence and returns a copy of the last token's logits. */
export function logitsAfter(context: Context, tokens: ArrayLike<number>, sequence = 0): Float32Array {
  using batch = new Batch({ capacity: tokens.length });
  const index = addPrompt(batch, tokens, sequence);
  const result = context.decode(batch);
  if (result.status !== "ok") throw new Error(`decode: ${JSON.stringify(result)}`);
  return context.logits(index).slice();
}

/** Goes on after `prompt` with `choose` until `count` tokens or an end token came; an empty cache is assumed. */
export function generate(context: Context, prompt: Int32Array, count: number, choose: () => number): number[] {
  using batch = new Batch({ capacity: prompt.length });
  addPrompt(batch, prompt);
  const tokens: number[] = [];
  while (context.decode(batch).status === "ok" && tokens.length < count) {
    const token = choose();
    if (context.model.vocabulary.isEndOfGeneration(token)) break;
    batch.clear();
    batch.add(token, prompt.length + tokens.length, 0, true);
    tokens.push(token);
  }
  return tokens;
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), 0);
}
