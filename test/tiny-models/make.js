/**
 * Writes a tiny model's file: fills its planned tensors with seeded random values, in the types that the plan names.
 */
import { join } from "node:path";
import { GgmlType, writeGguf } from "../../src/gguf/index.js";
import { loadLibraries, quantize } from "../../src/llama/index.js";
import { plannedMetadata, plannedTensors } from "./definition.js";
import { seedFromText, uniformValues } from "./random.js";
/**
 * Writes `<name>.gguf` into `directory`, in some ten milliseconds. The same spec always gives the same bytes.
 *
 * @returns the file's path
 */
export async function makeTinyModel(directory, spec) {
  const path = join(directory, `${spec.name}.gguf`);
  await writeGguf(path, {
    metadata: Object.entries(plannedMetadata(spec)).map(([key, value]) => ({ key, ...value })),
    tensors: plannedTensors(spec).map((tensor) => filled(spec, tensor)),
  });
  return path;
}
function filled(spec, tensor) {
  const { name, type, shape } = tensor;
  if ("values" in tensor) return { name, type, shape, data: new Uint8Array(tensor.values.buffer) };
  const count = shape.reduce((product, length) => product * length, 1);
  const values = uniformValues(seedFromText(`${spec.name}/${name}`), count, tensor.mean, tensor.deviation);
  const data =
    type === GgmlType.F32 ? new Uint8Array(values.buffer) : quantize(loadLibraries(), type, values, shape[0]);
  return { name, type, shape, data };
}
