/**
 * Tuned routers of a model held against those of its inflated form: there the inputs have zeros behind, so that the same text
 * has to give the same gates with zeros behind.
 */
import { readBaseModel, readRouterFile } from "../adapter/index.ts";

export interface GateAgreement {
  readonly layers: number;
  /** Largest difference of a weight over the root mean square of what tuning changed, over all layers. */
  readonly largestDifference: number;
  /** Largest weight where the small model has none. */
  readonly largestBehind: number;
}

/** @throws AdapterError when a file is of another model */
export function compareGates(
  small: { readonly model: string; readonly routers: string },
  inflated: { readonly model: string; readonly routers: string },
): GateAgreement {
  const base = readBaseModel(small.model);
  const own = readRouterFile(small.routers, base).delta;
  const other = readRouterFile(inflated.routers, readBaseModel(inflated.model)).delta;
  let largestDifference = 0;
  let largestBehind = 0;
  for (const { block, gate } of own.layers) {
    const wide = other.layers.find((layer) => layer.block === block)?.gate;
    const before = base.gates.find((layer) => layer.block === block)?.weights;
    if (wide === undefined || before === undefined) throw new Error(`The gate of block ${block} is in one file only`);
    let change = 0;
    let difference = 0;
    for (let e = 0; e < own.experts; e++)
      for (let i = 0; i < other.width; i++) {
        const value = wide[e * other.width + i];
        if (i >= own.width) {
          largestBehind = Math.max(largestBehind, Math.abs(value));
          continue;
        }
        const at = e * own.width + i;
        change += (gate[at] - before[at]) ** 2;
        difference = Math.max(difference, Math.abs(value - gate[at]));
      }
    largestDifference = Math.max(largestDifference, difference / Math.sqrt(change / gate.length));
  }
  return { layers: own.layers.length, largestDifference, largestBehind };
}
