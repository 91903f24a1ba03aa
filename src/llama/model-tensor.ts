/**
 * A model's weight tensors by name: where ggml keeps the struct of one, so that it can be pointed at other data. llama.cpp has no
 * C function for it; this is the C++ method behind `llama_model::get_tensor`, which its shared library exports.
 */
import koffi from "koffi";
import type { Model } from "./model.ts";
import { NativeWords } from "./native-words.ts";
import { GgmlType, type NativePointer, TENSOR_OFFSET } from "./structs.ts";

/** Itanium C++ ABI, as GCC and Clang have it on x64 and arm64: a method takes its object first. */
const GET_TENSOR = "void *_ZNK11llama_model10get_tensorEPKc(void *model, const char *name)";

/**
 * Makes a float32 weight tensor of the model have its data at `address`, from the next graph on. The old data stays where it is.
 * @param floats what the tensor must hold
 * @throws Error when the model has no such tensor of this size: the file and the loaded model do not fit
 */
export function moveWeights(model: Model, name: string, address: number, floats: number): void {
  const getTensor = koffi.load(model.libraries.paths.llama).func(GET_TENSOR);
  const tensor = Number((getTensor(model.handle.address, name) as NativePointer | null) ?? 0);
  const words = new NativeWords();
  const lengths = [0, 1, 2, 3].map((i) => (tensor === 0 ? 0 : words.u64(tensor + TENSOR_OFFSET.ne + 8 * i)));
  const count = lengths.reduce((product, length) => product * length, 1);
  if (count !== floats || words.i32(tensor + TENSOR_OFFSET.type) !== GgmlType.F32)
    throw new Error(`llama.cpp has no tensor ${name} of ${floats} floats in ${model.description}`);
  words.setU64(tensor + TENSOR_OFFSET.data, address);
}
