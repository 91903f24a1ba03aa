/**
 * Rows of a model's own `token_embd.weight` as float32, dequantised by ggml one at a time when they are asked for: from the
 * weights of an open model, or from a file that is not open. Nothing is kept; what an architecture does with a row
 * afterwards (Gemma scales it) is not done here.
 */
import fs from "node:fs";
import koffi from "koffi";
import type { EmbeddingSource } from "../cache/embedding-source.ts";
import type { GgufFile, GgufTensor } from "../gguf/index.ts";
import type { Libraries } from "./libraries.ts";
import { NativeWords } from "./native-words.ts";
import { GgmlType, type NativePointer, TypeTraitsStruct } from "./structs.ts";

const TABLE = "token_embd.weight";

/** Turns one stored row, at a native address or in a buffer, into floats. */
type Dequantise = (row: NativePointer | Uint8Array, into: Float32Array) => void;

/**
 * The table of an open model; undefined when it has none, or one whose type has no float values.
 * @param addressOf where a tensor's data lies in this process
 */
export function embeddingTable(
  libraries: Libraries,
  gguf: GgufFile,
  addressOf: (tensor: GgufTensor) => number,
): EmbeddingSource | undefined {
  const table = tableOf(libraries, gguf);
  if (table === undefined) return undefined;
  const { tensor, width, tokens, rowBytes, dequantise } = table;
  const address = addressOf(tensor);
  const words = new NativeWords();
  const row = new Float32Array(width);
  return {
    width,
    rows(tokenIds, into) {
      for (const [i, token] of tokenIds.entries()) {
        const from = address + token * rowBytes;
        if (!(token >= 0 && token < tokens)) into.fill(0, i * width, (i + 1) * width);
        else if (dequantise === undefined) words.copyFloats(from, width, into, i * width);
        else {
          dequantise(BigInt(from), row);
          into.set(row, i * width);
        }
      }
    },
  };
}

/** The table of a model file that stays open until it is disposed of; undefined as above. @throws GgufError */
export function openEmbeddingTable(libraries: Libraries, gguf: GgufFile): (EmbeddingSource & Disposable) | undefined {
  const table = tableOf(libraries, gguf);
  if (table === undefined) return undefined;
  const { tensor, width, tokens, rowBytes, dequantise } = table;
  const file = fs.openSync(gguf.shards[tensor.shard].path, "r");
  const stored = new Uint8Array(rowBytes);
  const row = new Float32Array(width);
  return {
    width,
    rows(tokenIds, into) {
      for (const [i, token] of tokenIds.entries()) {
        if (!(token >= 0 && token < tokens)) {
          into.fill(0, i * width, (i + 1) * width);
          continue;
        }
        fs.readSync(file, stored, 0, rowBytes, tensor.offset + token * rowBytes);
        if (dequantise === undefined) new Uint8Array(row.buffer).set(stored);
        else dequantise(stored, row);
        into.set(row, i * width);
      }
    },
    [Symbol.dispose]: () => fs.closeSync(file),
  };
}

interface Table {
  readonly tensor: GgufTensor;
  readonly width: number;
  readonly tokens: number;
  readonly rowBytes: number;
  /** Undefined for rows that are float32 already. */
  readonly dequantise: Dequantise | undefined;
}

function tableOf({ ggmlBase }: Libraries, gguf: GgufFile): Table | undefined {
  const tensor = gguf.tensor(TABLE);
  if (tensor === undefined || tensor.shape.length !== 2 || tensor.bytes === 0) return undefined;
  const [width, tokens] = tensor.shape;
  const rowBytes = tensor.bytes / tokens;
  if (tensor.type === GgmlType.F32) return { tensor, width, tokens, rowBytes, dequantise: undefined };
  const traits = koffi.decode(ggmlBase.ggml_get_type_traits(tensor.type), TypeTraitsStruct);
  const toFloat: NativePointer | null = traits.to_float;
  if (toFloat === null) return undefined;
  const dequantise: Dequantise = (row, into) => koffi.call(toFloat, "ggml_to_float_t", row, into, width);
  return { tensor, width, tokens, rowBytes, dequantise };
}
