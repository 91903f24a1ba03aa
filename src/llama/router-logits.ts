/**
 * What the routers of stock llama.cpp say to a text, and whether an adapter's part in it was computed: the proof that an adapter
 * works on an architecture, of which some compute their routers where adapters are not applied. Not for the engine, whose
 * hook is `graph-hook.ts`.
 */
import { Batch } from "./batch.ts";
import { registerEvalCallback } from "./callbacks.ts";
import { createContext } from "./context.ts";
import { type ScaledAdapter, setLoraAdapters } from "./lora-adapter.ts";
import type { Model } from "./model.ts";
import { NativeWords } from "./native-words.ts";
import { GgmlType, TENSOR_OFFSET } from "./structs.ts";

export interface RouterLogitsOptions {
  readonly model: Model;
  /** One batch; all of them want logits, so that the last layer's router sees all. */
  readonly tokens: ArrayLike<number>;
  /** @default none */
  readonly adapters?: readonly ScaledAdapter[];
  /**
   * Attention in float32, so that what later layers see differs by no more than their inputs do: flash attention rounds keys to
   * F16 whatever the cache holds, where a last bit becomes a difference of 1e-4. @default false, as llama.cpp
   */
  readonly exactAttention?: boolean;
}

export interface RouterLogits {
  /** By block: the router's raw output with what adapters add, `[tokens][experts]`. */
  readonly routers: ReadonlyMap<number, Float32Array>;
  /** By block: the experts chosen, best first, `[tokens][used]`. */
  readonly chosen: ReadonlyMap<number, Int32Array>;
  /** Blocks in whose router's product an adapter took part. */
  readonly adapted: ReadonlySet<number>;
  /** The model's logits of the last token. */
  readonly logits: Float32Array;
}

const TOPK = /^ffn_moe_topk-(\d+)$/;
const ADAPTER_PART = /^blk\.(\d+)\.ffn_gate_inp\.weight\.lora_a$/;
const ROUTER = /^blk\.(\d+)\.ffn_gate_inp\.weight$/;

/** @throws ContextCreateError, or Error when the batch cannot be computed */
export function routerLogits({
  model,
  tokens,
  adapters = [],
  exactAttention = false,
}: RouterLogitsOptions): RouterLogits {
  const words = new NativeWords();
  const { ggml_op_name } = model.libraries.ggmlBase;
  const routers = new Map<number, Float32Array>();
  const chosen = new Map<number, Int32Array>();
  const adapted = new Set<number>();
  /** Node whose result is wanted next: the router's product, then each sum that takes it up. */
  let product = { tensor: 0, block: -1 };
  const source = (tensor: number, i: number) => words.u64(tensor + TENSOR_OFFSET.src + 8 * i);
  const wanted = (tensor: number): boolean => {
    const operation = ggml_op_name(words.i32(tensor + TENSOR_OFFSET.op));
    if (operation === "MUL_MAT") {
      const weights = nameAt(words, source(tensor, 0));
      const part = ADAPTER_PART.exec(weights)?.[1];
      if (part !== undefined) adapted.add(Number(part));
      const block = ROUTER.exec(weights)?.[1];
      if (block === undefined) return false;
      product = { tensor, block: Number(block) };
      return true;
    }
    if (operation === "ADD" && product.tensor !== 0 && source(tensor, 0) === product.tensor) {
      product.tensor = tensor;
      return true;
    }
    return TOPK.test(nameAt(words, tensor));
  };
  const computed = (tensor: number): boolean => {
    const columns = words.u64(tensor + TENSOR_OFFSET.ne);
    const rows = words.u64(tensor + TENSOR_OFFSET.ne + 8);
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    if (words.i32(tensor + TENSOR_OFFSET.type) === GgmlType.F32) {
      const values = new Float32Array(columns * rows);
      words.copyFloats(data, values.length, values, 0);
      routers.set(product.block, values);
      return true;
    }
    // A view of the whole sorted list: rows are nb[1] apart.
    const rowBytes = words.u64(tensor + TENSOR_OFFSET.nb + 8);
    const block = Number(TOPK.exec(nameAt(words, tensor))?.[1]);
    const at = (i: number) => data + Math.floor(i / columns) * rowBytes + (i % columns) * 4;
    chosen.set(
      block,
      Int32Array.from({ length: columns * rows }, (_, i) => words.i32(at(i))),
    );
    return true;
  };
  const callback = registerEvalCallback((tensor, ask) => (ask ? wanted(tensor) : computed(tensor)));
  try {
    using context = createContext(model, {
      contextSize: tokens.length,
      batchSize: tokens.length,
      microBatchSize: tokens.length,
      maxOutputs: tokens.length,
      // ggml's threads wait spinning at each stop, and there is one at every router.
      threads: 1,
      ...(exactAttention ? { typeK: GgmlType.F32, typeV: GgmlType.F32, flashAttention: "off" } : {}),
      evalCallback: callback.pointer,
    });
    setLoraAdapters(context, adapters);
    using batch = new Batch({ capacity: tokens.length });
    for (let i = 0; i < tokens.length; i++) batch.add(tokens[i], i, 0, true);
    const result = context.decode(batch);
    if (result.status !== "ok") throw new Error(`llama.cpp cannot compute the probe: ${JSON.stringify(result)}`);
    return { routers, chosen, adapted, logits: context.logits(tokens.length - 1).slice() };
  } finally {
    callback.release();
  }
}

function nameAt(words: NativeWords, tensor: number): string {
  if (tensor === 0) return "";
  let name = "";
  for (let at = tensor + TENSOR_OFFSET.name; ; at += 4) {
    const four = words.u32(at);
    for (let shift = 0; shift < 32; shift += 8) {
      const byte = (four >>> shift) & 0xff;
      if (byte === 0) return name;
      name += String.fromCharCode(byte);
    }
  }
}
