/** A shape with 4 heads and 2 key-value heads across the hidden size, and no dense layer or shared expert, unless told. */
export function shape(given) {
  const heads = given.heads ?? 4;
  return {
    denseLayers: 0,
    heads,
    kvHeads: 2,
    headSize: given.hidden / heads,
    denseWidth: given.expertWidth,
    sharedWidth: 0,
    ...given,
  };
}
/** The same type for all expert matrices of all layers, or one for gate and up and one for down. */
export function types(gateUp, down = gateUp) {
  return () => ({ gate: gateUp, up: gateUp, down });
}
/** As llama-quantize's Q4_K_M does: the down matrices of some layers in a finer type than the rest. */
export function mixedTypes(gateUp, fine, coarse) {
  return (layer) => ({ gate: gateUp, up: gateUp, down: layer % 2 === 0 ? fine : coarse });
}
