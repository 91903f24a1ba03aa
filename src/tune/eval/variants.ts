/** The variants of a model that an evaluation compares: which gates, which cache bias, and what they are called. */
import { type GateValues, readBaseModel, readRouterFile, scaledGates } from "../../adapter/index.ts";
import { type CacheBias, checkCacheSize } from "../../routing/cache-bias.ts";
import type { VariantRouting } from "./document-runner.ts";
import type { EvaluationJob, VariantKind } from "./evaluation.ts";

export interface Variant extends VariantRouting {
  readonly name: string;
  readonly kind: VariantKind;
  readonly method: string | null;
  readonly scale: number | null;
  readonly lambda: number | null;
}

export interface TunedGates {
  readonly name: string;
  readonly method: string;
  readonly scale: number;
  readonly gates: readonly GateValues[];
}

export const BASE: Variant = { name: "base", kind: "base", method: null, scale: null, lambda: null, gates: [] };
export const RANDOM_NAME = "random change";

/** @throws AdapterError for routers of another model, GgufError, TuneError */
export function readTunedGates({ model, routers }: Pick<EvaluationJob, "model" | "routers">): TunedGates[] {
  const base = readBaseModel(model);
  return routers.map(({ name, path, scale }) => {
    const artifact = readRouterFile(path, base);
    return { name, method: artifact.delta.method, scale, gates: scaledGates(base, artifact, scale) };
  });
}

/** All but the base and the random change. @throws CacheBiasError for a lambda that the cache is too small for */
export function comparedVariants(
  job: Pick<EvaluationJob, "cacheBias" | "combine">,
  tuned: readonly TunedGates[],
  shape: { readonly expertsUsed: number; readonly expertsPerLayer: number },
  biasable: boolean,
): Variant[] {
  const { expertsUsed, expertsPerLayer } = shape;
  const lambdas = biasable ? job.cacheBias : [];
  const biasOf = (lambda: number): VariantRouting["bias"] => {
    const rule: CacheBias = { rule: { kind: "prior", lambda } };
    checkCacheSize(rule, expertsPerLayer, expertsUsed);
    return { rule, expertsPerLayer };
  };
  const none = { method: null, scale: null, gates: [] };
  return [
    ...(lambdas.length === 0
      ? []
      : [{ ...none, name: "noise floor", kind: "noise-floor" as const, lambda: 0, bias: biasOf(0) }]),
    ...tuned.map(({ name, method, scale, gates }) => ({
      ...{ name, kind: "tuned" as const, method, scale, gates, lambda: null },
    })),
    ...lambdas.map((lambda) => ({
      ...{ ...none, name: `cache-prior ${lambda}`, kind: "cache-prior" as const, lambda, bias: biasOf(lambda) },
    })),
    ...(job.combine ? tuned : []).flatMap(({ name, method, scale, gates }) =>
      lambdas.map((lambda) => ({
        ...{
          name: `${name} + cache-prior ${lambda}`,
          kind: "tuned+cache-prior" as const,
          method,
          scale,
          gates,
          lambda,
        },
        bias: biasOf(lambda),
      })),
    ),
  ];
}
