/** Drive, processor and engine together: what a replay needs to know of the machine it pretends to run on. */
import type { ComputeModel, EngineCost } from "./compute-model.ts";
import type { DiskModel } from "./disk-model.ts";

export interface MachineModel {
  readonly disk: DiskModel;
  /** Of the traced model on this machine: as many layers, and the same number of products in each. */
  readonly compute: ComputeModel;
  readonly engine: EngineCost;
}

/** @throws RangeError when the compute model is not one of a model with so many layers */
export function checkMachine({ compute }: MachineModel, layers: number): void {
  if (compute.layers.length !== layers)
    throw new RangeError(`The compute model has ${compute.layers.length} layers, the trace ${layers}`);
  const products = compute.layers[0]?.products.length ?? 0;
  if (products === 0 || compute.layers.some((layer) => layer.products.length !== products))
    throw new RangeError("Every layer of a compute model has the same number of products, at least one");
}
