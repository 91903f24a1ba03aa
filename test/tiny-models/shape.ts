/**
 * The sizes of one tiny model and the types of its expert matrices. Architectures turn it into tensors and metadata.
 */
import type { GgmlType } from "../../src/gguf/index.ts";

export interface ExpertTypes {
  readonly gate: GgmlType;
  /** Also the type of a fused gate and up matrix. */
  readonly up: GgmlType;
  readonly down: GgmlType;
}

export interface Shape {
  /** Blocks that a decode computes. */
  readonly layers: number;
  /** How many blocks at the start have a dense feed-forward network. */
  readonly denseLayers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly experts: number;
  readonly expertsUsed: number;
  /** Hidden units of one routed expert. */
  readonly expertWidth: number;
  /** Hidden units of the dense layers. */
  readonly denseWidth: number;
  /** Hidden units of the shared expert, 0 for none. */
  readonly sharedWidth: number;
  readonly expertTypes: (layer: number) => ExpertTypes;
}

type Required = "layers" | "hidden" | "experts" | "expertsUsed" | "expertWidth" | "expertTypes";

/** A shape with 4 heads and 2 key-value heads across the hidden size, and no dense layer or shared expert, unless told. */
export function shape(given: Pick<Shape, Required> & Partial<Shape>): Shape {
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
export function types(gateUp: GgmlType, down: GgmlType = gateUp): (layer: number) => ExpertTypes {
  return () => ({ gate: gateUp, up: gateUp, down });
}

/** As llama-quantize's Q4_K_M does: the down matrices of some layers in a finer type than the rest. */
export function mixedTypes(gateUp: GgmlType, fine: GgmlType, coarse: GgmlType): (layer: number) => ExpertTypes {
  return (layer) => ({ gate: gateUp, up: gateUp, down: layer % 2 === 0 ? fine : coarse });
}
