/**
 * Routers that were tuned for a small model, for its inflated form: there the residual stream has zeros behind its old values, and
 * so have the routers' inputs (`bench/inflate-plan.ts`), so a gate grows by zeros and its logits stay the same to the bit.
 */
import { type BaseModel, type RouterArtifact, readBaseModel, readRouterFile } from "../../adapter/index.ts";
import { TuneError } from "../errors.ts";

/**
 * The routers of `routerPath` for `wide`.
 * @throws AdapterError for routers that are not of `modelPath`; TuneError `wrong-model` when `wide` is not its wider form
 */
export function widerRouters(modelPath: string, routerPath: string, wide: BaseModel): RouterArtifact {
  const base = readBaseModel(modelPath);
  const { delta, report } = readRouterFile(routerPath, base);
  requireWiderForm(base, wide);
  if (base.width === wide.width) return { delta, report };
  const layers = delta.layers.map(({ block, gate, bias }) => {
    const own = wide.gates.find((candidate) => candidate.block === block);
    if (own === undefined) throw otherModel(wide);
    return { block, bias, gate: padded(gate, base.width, wide.width), baseSha256: own.sha256 };
  });
  return { delta: { ...delta, width: wide.width, layers }, report };
}

/** Equal gates with zeros behind: everything else would be another model. */
function requireWiderForm(base: BaseModel, wide: BaseModel): void {
  const same =
    base.gates.length === wide.gates.length &&
    base.experts === wide.experts &&
    base.gates.every(({ weights }, i) => {
      const expected = padded(weights, base.width, wide.width);
      return expected.every((value, at) => value === wide.gates[i].weights[at]);
    });
  if (!same) throw otherModel(wide);
}

function otherModel({ path }: BaseModel): TuneError {
  return new TuneError(
    "wrong-model",
    `${path} has not the routers of the model that these were tuned for. Give that model, or its inflated form.`,
  );
}

function padded(rows: Float32Array, from: number, to: number): Float32Array {
  const wide = new Float32Array((rows.length / from) * to);
  for (let row = 0; row < rows.length / from; row++) wide.set(rows.subarray(row * from, (row + 1) * from), row * to);
  return wide;
}
