/**
 * The variants of a model that are put on curves of cost over quality: as it is, with tuned routers at several scales, with
 * cache-prior routing at several lambdas, and with both. Pure names and numbers; nothing is read or run here.
 */

/** What moves together on one line. */
export type Family = "base" | "tuned" | "cache-prior" | "both";

export interface CurveVariant {
  readonly name: string;
  readonly family: Family;
  /** Label of the tuned routers; null: the model's own. */
  readonly router: string | null;
  readonly scale: number | null;
  /** Of cache-prior routing; null: routers choose. */
  readonly lambda: number | null;
}

export interface CurveAxes {
  readonly routers: readonly string[];
  readonly scales: readonly number[];
  readonly lambdas: readonly number[];
}

const OWN = { router: null, scale: null } as const;

/** The base first, then each family in the order of its strengths. */
export function curveVariants({ routers, scales, lambdas }: CurveAxes): CurveVariant[] {
  const tuned = routers.flatMap((router) => scales.map((scale) => ({ name: `${router} @${scale}`, router, scale })));
  return [
    { name: "base", family: "base", ...OWN, lambda: null },
    ...tuned.map((own) => ({ ...own, family: "tuned" as const, lambda: null })),
    ...lambdas.map((lambda) => ({
      ...{ name: `cache-prior ${lambda}`, family: "cache-prior" as const, ...OWN, lambda },
    })),
    ...tuned.flatMap((own) =>
      lambdas.map((lambda) => ({
        ...{ ...own, name: `${own.name} + cache-prior ${lambda}`, family: "both" as const, lambda },
      })),
    ),
  ];
}

/** What the line of a variant is called; the base is a point of none. */
export function lineName({ family, router }: CurveVariant): string {
  switch (family) {
    case "base":
      return "base";
    case "tuned":
      return router as string;
    case "cache-prior":
      return "cache-prior";
    case "both":
      return `${router} + cache-prior`;
    default:
      return family satisfies never;
  }
}
