/**
 * The graph hook of one model: which blocks have experts, where their tensors lie in the mapped files and where they were moved
 * to, and what ggml's operations are called by number in this build. What happens at a stop is the listener's.
 */
import type { MoeLayout } from "../gguf/index.ts";
import { type ExpertTensor, GraphHook, type GraphListener } from "../llama/graph-hook.ts";
import type { Libraries } from "../llama/index.ts";
import type { ModelFile } from "../memory/expert-memory.ts";
import type { ExpertPlacement } from "../memory/expert-placement.ts";
import type { RoutingTap } from "./options.ts";

export interface ModelHookOptions {
  readonly libraries: Libraries;
  readonly layout: MoeLayout;
  readonly files: readonly ModelFile[];
  /** Undefined when experts are used where the file is mapped. */
  readonly placement: ExpertPlacement | undefined;
  /** Asked at every stop: a context wants its hook before there is anybody to listen. */
  readonly listener: () => GraphListener;
  /** Told of a router's choice after the listener, which may have changed it. */
  readonly onRouted: RoutingTap | undefined;
}

export function modelHook({ libraries, layout, files, placement, listener, onRouted }: ModelHookOptions): GraphHook {
  const { ggml_op_name } = libraries.ggmlBase;
  const opNumber = (name: string): number => {
    let op = 0;
    while (ggml_op_name(op) !== name) op++;
    return op;
  };
  const layerOfBlock = new Int32Array(layout.blockCount).fill(-1);
  const stageOfAddress = new Map<number, ExpertTensor>();
  for (const [layer, { blockIndex, slices }] of layout.moeLayers.entries()) {
    layerOfBlock[blockIndex] = layer;
    for (const [stage, { shard, offset }] of slices.entries()) {
      const moved = placement?.tensors[layer]?.[stage];
      const tensor: ExpertTensor = moved === undefined ? { layer, stage } : { layer, stage, moved };
      stageOfAddress.set(files[shard].base + offset, tensor);
      if (moved !== undefined) stageOfAddress.set(moved.address, tensor);
    }
  }
  return new GraphHook(
    {
      layerOfBlock,
      stageOfAddress,
      experts: layout.expertsPerLayer,
      opMulMatId: opNumber("MUL_MAT_ID"),
      opMulMat: opNumber("MUL_MAT"),
      opMul: opNumber("MUL"),
      opSoftMax: opNumber("SOFT_MAX"),
      opUnary: opNumber("UNARY"),
      opSqrt: opNumber("SQRT"),
      opArgsort: opNumber("ARGSORT"),
    },
    {
      routed: (stop) => {
        const goOn = listener().routed(stop);
        if (goOn) onRouted?.(stop);
        return goOn;
      },
      multiply: (layer, stage) => listener().multiply(layer, stage),
      multiplied: (layer) => listener().multiplied(layer),
    },
  );
}
