/**
 * The same architecture with expert matrices of whole pages, as the models that people run have them: only such experts
 * are given slots of their own in memory, where the tensors' distance between experts is not the file's.
 */
import { GgmlType } from "../../src/gguf/index.js";
import { plannedTensors } from "./definition.js";
import { types } from "./shape.js";

const PAGE_BYTES = 4096;
export function inWholePages(spec) {
  for (let expertWidth = spec.shape.expertWidth; expertWidth <= PAGE_BYTES; expertWidth++) {
    const wider = withWidth(spec, expertWidth);
    if (matricesAreWholePages(wider)) return wider;
  }
  throw new RangeError(`No width gives ${spec.name} expert matrices of whole pages`);
}
function withWidth(spec, expertWidth) {
  const { shape } = spec;
  // Where a model's dense or shared networks are as wide as an expert, llama.cpp may take one width for both.
  const alike = (width) => (width === shape.expertWidth ? expertWidth : width);
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
function matricesAreWholePages(spec) {
  return plannedTensors(spec)
    .filter(({ name }) => /_exps\.weight$/.test(name))
    .every(({ shape: [rows, columns] }) => (2 * rows * columns) % PAGE_BYTES === 0);
}
