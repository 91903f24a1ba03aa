/**
 * The same architecture with expert matrices of whole pages, as the models that people run have them: only such experts
 * are given slots of their own in memory, where the tensors' distance between experts is not the file's.
 */
import { GgmlType } from "../../src/gguf/index.ts";
import { plannedTensors, type TinyModelSpec } from "./definition.ts";
import { types } from "./shape.ts";

const PAGE_BYTES = 4096;
/** Every quantisation that dense matrices of the same width may have comes in blocks of at most this. */
const STEP = 32;

export function inWholePages(spec: TinyModelSpec): TinyModelSpec {
  for (let columns = 0; columns <= 256; columns += STEP) {
    const wider = withWidth(spec, Math.ceil(spec.shape.expertWidth / STEP) * STEP + columns);
    if (matricesAreWholePages(wider)) return wider;
  }
  throw new RangeError(`No width gives ${spec.name} expert matrices of whole pages`);
}

function withWidth(spec: TinyModelSpec, expertWidth: number): TinyModelSpec {
  const { shape } = spec;
  // Where a model's dense or shared networks are as wide as an expert, llama.cpp may take one width for both.
  const alike = (width: number) => (width === shape.expertWidth ? expertWidth : width);
  return {
    ...spec,
    name: `${spec.name}-pages`,
    shape: {
      ...shape,
      expertWidth,
      denseWidth: alike(shape.denseWidth),
      sharedWidth: alike(shape.sharedWidth),
      expertTypes: types(GgmlType.F16),
    },
  };
}

function matricesAreWholePages(spec: TinyModelSpec): boolean {
  return plannedTensors(spec)
    .filter(({ name }) => /_(gate|up|down)_exps\.weight$/.test(name))
    .every(({ shape: [rows, columns] }) => (2 * rows * columns) % PAGE_BYTES === 0);
}
