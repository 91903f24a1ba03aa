/**
 * What stock llama.cpp computes for some sequences in one batch, written down without the engine: the routers' choices and
 * mixture weights out of the graph's nodes, and the logits of all tokens.
 */
import {
  Batch,
  createContext,
  loadLibraries,
  loadModel,
  registerEvalCallback,
  TENSOR_DIMS,
  TENSOR_OFFSET,
} from "../../src/llama/index.ts";
import { NativeWords } from "../../src/llama/native-words.ts";

/** What the router of one block did for all tokens of the batch. */
export interface ReferenceRouting {
  /** `[tokens][k]`, best first. */
  readonly chosen: readonly (readonly number[])[];
  /** `[tokens][k]`: what the experts' outputs were multiplied with, up to a factor that all have. */
  weights: readonly (readonly number[])[];
}

export interface Reference {
  readonly routing: ReadonlyMap<number, ReferenceRouting>;
  /** `[tokens]` copies. */
  readonly logits: readonly Float32Array[];
}

const WATCHED = /^ffn_moe_(topk|weights|weights_softmax|weights_norm)-(\d+)$/;

/** One thread, so that ggml's barriers cost nothing on a busy machine. All sequences have the same length. */
export function referenceOf(path: string, sequences: readonly Int32Array[]): Reference {
  const [{ length }] = sequences;
  const tokens = sequences.length * length;
  const words = new NativeWords();
  const routing = new Map<number, ReferenceRouting>();
  /** Blocks that have chosen a second time, among other experts, which are not streamed. */
  const done = new Set<number>();
  const nameOf = (tensor: number): string => {
    const bytes: number[] = [];
    for (let at = tensor + TENSOR_OFFSET.name; ; at += 4) {
      const four = words.u32(at);
      for (let shift = 0; shift < 32; shift += 8) {
        const byte = (four >>> shift) & 0xff;
        if (byte === 0) return Buffer.from(bytes).toString("utf8");
        bytes.push(byte);
      }
    }
  };
  /** Rows of `[k, tokens]` or `[1, k, tokens]`, whatever the strides. */
  const rowsOf = <T>(tensor: number, value: (address: number) => T): T[][] => {
    const sizes = Array.from({ length: TENSOR_DIMS }, (_, i) => ({
      count: words.u64(tensor + TENSOR_OFFSET.ne + 8 * i),
      stride: words.u64(tensor + TENSOR_OFFSET.nb + 8 * i),
    }));
    // The last dimension that has all tokens is theirs; what is left of it are the ranks.
    const last = sizes.findLastIndex(({ count }) => count === tokens);
    const rank = sizes.find(({ count }, i) => i < last && count > 1) ?? { count: 1, stride: 0 };
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    return Array.from({ length: tokens }, (_, t) =>
      Array.from({ length: rank.count }, (_, r) => value(data + t * sizes[last].stride + r * rank.stride)),
    );
  };
  const hook = registerEvalCallback((tensor, ask) => {
    const watched = WATCHED.exec(nameOf(tensor));
    if (ask) return watched !== null;
    const [, kind, number] = watched ?? [];
    const block = Number(number);
    const known = routing.get(block);
    if (kind === "topk") {
      if (known === undefined) routing.set(block, { chosen: rowsOf(tensor, (at) => words.i32(at)), weights: [] });
      else done.add(block);
    } else if (known !== undefined && !done.has(block)) known.weights = rowsOf(tensor, (at) => words.f32(at));
    return true;
  });
  try {
    using model = loadModel(loadLibraries(), path, { repackWeights: false });
    using context = createContext(model, {
      contextSize: length,
      maxSequences: sequences.length,
      batchSize: tokens,
      microBatchSize: tokens,
      maxOutputs: tokens,
      threads: 1,
      evalCallback: hook.pointer,
    });
    using batch = new Batch({ capacity: tokens });
    for (const [sequence, ids] of sequences.entries())
      for (const [position, id] of ids.entries()) batch.add(id, position, sequence, true);
    const result = context.decode(batch);
    if (result.status !== "ok") throw new Error(`decode: ${JSON.stringify(result)}`);
    return { routing, logits: Array.from({ length: tokens }, (_, i) => context.logits(i).slice()) };
  } finally {
    hook.release();
  }
}

/** Most likely token and loss of the one that came, in double precision. */
export function scoreOf(logits: Float32Array, next: number): { readonly predicted: number; readonly loss: number } {
  let predicted = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[predicted]) predicted = i;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - logits[predicted]);
  return { predicted, loss: Math.log(sum) + logits[predicted] - logits[next] };
}
