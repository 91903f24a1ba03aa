/**
 * Runs a model in stock llama.cpp and writes down what its graph shows to a scheduler callback: node names, operations
 * and sources, and which experts the routers chose. For tests only; the engine's own hook is `src/llama/graph-hook.ts`.
 */
import {
  Batch,
  type Context,
  createContext,
  loadLibraries,
  loadModel,
  registerEvalCallback,
  TENSOR_OFFSET,
} from "../../src/llama/index.ts";
import { NativeWords } from "../../src/llama/native-words.ts";

export interface GraphNode {
  readonly name: string;
  /** ggml's name of the operation, such as `MUL_MAT_ID`. */
  readonly operation: string;
  /** Name of the first operand: the weights, where the operation is a matrix product. */
  readonly source: string;
}

/** What one router chose in one decode. */
export interface RouterChoice {
  readonly block: number;
  /** Experts by token, the best first. */
  readonly chosen: readonly (readonly number[])[];
}

export interface DecodeRecord {
  readonly nodes: readonly GraphNode[];
  readonly choices: readonly RouterChoice[];
  /** A copy of the logits of the last token. */
  readonly logits: Float32Array;
}

export interface ProbeOptions {
  /** Tokens of each decode, in turn; only the last token of each wants logits. */
  readonly decodes: readonly Int32Array[];
  /** Most tokens computed at once. @default 64 */
  readonly microBatchSize?: number;
}

const TOPK = /^ffn_moe_topk-(\d+)$/;

/** One record for each decode. One thread, so that ggml's barriers cost nothing on a busy machine. */
export function probeModel(path: string, options: ProbeOptions): DecodeRecord[] {
  const libraries = loadLibraries();
  using model = loadModel(libraries, path);
  const words = new NativeWords();
  const operations = new Map<number, string>();
  let nodes: GraphNode[] = [];
  let choices: RouterChoice[] = [];

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
  const operationOf = (tensor: number): string => {
    const number = words.i32(tensor + TENSOR_OFFSET.op);
    const known = operations.get(number) ?? libraries.ggmlBase.ggml_op_name(number);
    operations.set(number, known);
    return known;
  };
  const hook = registerEvalCallback((tensor, ask) => {
    const name = nameOf(tensor);
    const topk = TOPK.exec(name);
    if (ask) {
      const source = words.u64(tensor + TENSOR_OFFSET.src);
      nodes.push({ name, operation: operationOf(tensor), source: source === 0 ? "" : nameOf(source) });
      return topk !== null;
    }
    // A view of the whole sorted list: a row is nb[1] bytes long, of which the first ne[0] entries are the choice.
    const [rank, tokens] = [words.u64(tensor + TENSOR_OFFSET.ne), words.u64(tensor + TENSOR_OFFSET.ne + 8)];
    const rowBytes = words.u64(tensor + TENSOR_OFFSET.nb + 8);
    const data = words.u64(tensor + TENSOR_OFFSET.data);
    const chosen = Array.from({ length: tokens }, (_, token) =>
      Array.from({ length: rank }, (_, place) => words.i32(data + token * rowBytes + place * 4)),
    );
    choices.push({ block: Number(topk![1]), chosen });
    return true;
  });
  try {
    using context = createContext(model, {
      contextSize: 256,
      batchSize: 64,
      microBatchSize: options.microBatchSize ?? 64,
      threads: 1,
      evalCallback: hook.pointer,
    });
    using batch = new Batch({ capacity: 64 });
    let position = 0;
    return options.decodes.map((tokens) => {
      nodes = [];
      choices = [];
      const logits = decode(context, batch, tokens, position);
      position += tokens.length;
      return { nodes, choices, logits };
    });
  } finally {
    hook.release();
  }
}

function decode(context: Context, batch: Batch, tokens: Int32Array, position: number): Float32Array {
  batch.clear();
  tokens.forEach((token, i) => {
    batch.add(token, position + i, 0, i === tokens.length - 1);
  });
  const result = context.decode(batch);
  if (result.status !== "ok") throw new Error(`decode: ${JSON.stringify(result)}`);
  return Float32Array.from(context.logits(tokens.length - 1));
}
