/**
 * What can be said about routing that prefers resident experts: the rule, how many of a router's own choices are never
 * touched, and the bound on what it may change. Plain data with its texts and its checks; the selection is in `select.ts`.
 * Whatever is said here, the output is no longer the model's own.
 */

/** Which experts a token gets instead of its router's own K best. Mixture weights stay those of the original scores. */
export type SelectionRule =
  /** Resident experts' scores are raised by `lambda`, 0 to 1, times the mean range of a token's scores (arXiv 2412.00099). */
  | { readonly kind: "prior"; readonly lambda: number }
  /** Resident experts among the best `ranks` come first. `ranks` up to K leaves the choice alone. */
  | { readonly kind: "max-rank"; readonly ranks: number }
  /** As max-rank, among the fewest experts whose probabilities sum to `mass`, 0 to 1. */
  | { readonly kind: "cumulative-mass"; readonly mass: number };

export interface CacheBias {
  readonly rule: SelectionRule;
  /** J: so many of a router's best are chosen whatever is resident, 0 to K. @default 1 */
  readonly alwaysKeep?: number;
  /**
   * Mean route KL (`routeKl`, nats per token and layer) that is never exceeded; a swap that would exceed it is not made.
   * With the rule prior, lambda then follows what is spent: the one given is only the first. @default no bound
   */
  readonly routeKlBound?: number;
  /** Do as told also where quality falls off a cliff (see `checkCacheSize`), to measure it. @default false */
  readonly evenOnTheCliff?: boolean;
}

export const DEFAULT_ALWAYS_KEEP = 1;
/** What `auto` begins with. */
export const AUTO_FIRST_LAMBDA = 0.05;
/**
 * Bound of `auto` without a number. On the demo model it comes with a mean KL of the logits of 0.0096 to 0.0106 nats at 12.5, 25
 * and 50 % of the experts (`npm run bench:cache-bias`); other models have not been measured.
 */
export const AUTO_ROUTE_KL = 0.01;
/** Where C, the experts that a layer can hold on average, is below 2 K, a larger lambda starves the router (remoe.md, 8.4). */
export const LARGEST_LAMBDA_IN_A_SMALL_CACHE = 0.3;

/** A cache bias that makes no sense, or that would ruin the output. */
export class CacheBiasError extends Error {
  override readonly name = "CacheBiasError";
}

/**
 * From the texts of a command line.
 * @param strength "off", a lambda, "auto", or "auto:<nats>"; undefined: whatever the rule says
 * @param rule "prior", "max-rank:<ranks>" or "cumulative-mass:<mass>"
 * @returns undefined when routing is left alone
 * @throws CacheBiasError
 */
export function parseCacheBias(
  strength: string | undefined,
  rule = "prior",
  alwaysKeep: number | undefined = undefined,
): CacheBias | undefined {
  if (strength === "off" || strength === "0") return undefined;
  const [kind, parameter] = splitOnce(rule);
  const [automatic, nats] = splitOnce(strength ?? "");
  const bound = automatic === "auto" ? { routeKlBound: nats === undefined ? AUTO_ROUTE_KL : positive(nats) } : {};
  const keep = alwaysKeep === undefined ? {} : { alwaysKeep };
  if (kind === "prior" && parameter === undefined) {
    if (strength === undefined) return undefined;
    const lambda = automatic === "auto" ? AUTO_FIRST_LAMBDA : share(strength, "--cache-bias");
    return lambda === 0 ? undefined : { rule: { kind, lambda }, ...keep, ...bound };
  }
  if (strength !== undefined && automatic !== "auto")
    throw new CacheBiasError(`The rule ${rule} has no strength ${strength}: leave it out, or give auto to bound it.`);
  if (kind === "max-rank" && /^[1-9]\d*$/.test(parameter ?? ""))
    return { rule: { kind, ranks: Number(parameter) }, ...keep, ...bound };
  if (kind === "cumulative-mass" && parameter !== undefined)
    return { rule: { kind, mass: share(parameter, rule) }, ...keep, ...bound };
  throw new CacheBiasError(`There is no rule ${rule}. There are prior, max-rank:12 and cumulative-mass:0.9.`);
}

/** Reads like what `parseCacheBias` takes. */
export function describeCacheBias({ rule, alwaysKeep, routeKlBound }: CacheBias): string {
  const bound = routeKlBound === undefined ? "" : `, route KL at most ${routeKlBound}`;
  return `${describeRule(rule, routeKlBound !== undefined)}, best ${alwaysKeep ?? DEFAULT_ALWAYS_KEEP} kept${bound}`;
}

function describeRule(rule: SelectionRule, automatic: boolean): string {
  switch (rule.kind) {
    case "prior":
      return `prior ${automatic ? "auto" : rule.lambda}`;
    case "max-rank":
      return `max-rank:${rule.ranks}`;
    case "cumulative-mass":
      return `cumulative-mass:${rule.mass}`;
    default:
      return rule satisfies never;
  }
}

/** Lambda may not grow beyond this. */
export function largestLambda(expertsPerLayer: number, expertsUsed: number): number {
  return expertsPerLayer < 2 * expertsUsed ? LARGEST_LAMBDA_IN_A_SMALL_CACHE : 1;
}

/**
 * Whether the cache is large enough for the bias.
 * @param expertsPerLayer C: how many experts of each layer the budget holds on average
 * @param expertsUsed K
 * @returns what the user should know, one sentence each
 * @throws CacheBiasError where published quality collapses: GSM8K 88 to 50 at C = K and lambda 0.8
 */
export function checkCacheSize(bias: CacheBias, expertsPerLayer: number, expertsUsed: number): string[] {
  const { rule, alwaysKeep = DEFAULT_ALWAYS_KEEP } = bias;
  if (alwaysKeep > expertsUsed)
    throw new CacheBiasError(`A token uses ${expertsUsed} experts a layer: ${alwaysKeep} of them cannot be kept.`);
  const notes = [
    `Cache bias (${describeCacheBias(bias)}): routing prefers experts that are in memory, so the output is not the model's own.`,
  ];
  if (expertsPerLayer >= 2 * expertsUsed) return notes;
  const size = `The budget holds ${expertsPerLayer.toFixed(1)} experts a layer, fewer than twice the ${expertsUsed} that a token uses`;
  const limit = largestLambda(expertsPerLayer, expertsUsed);
  if (rule.kind === "prior" && rule.lambda > limit && bias.evenOnTheCliff !== true)
    throw new CacheBiasError(
      `${size}: a cache bias of ${rule.lambda} would ruin the output there. Give ${limit} at most, or more memory.`,
    );
  return [...notes, `${size}: there a cache bias costs quality quickly. Compare the text with --cache-bias off.`];
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf(":");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function share(text: string, what: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= 1) return value;
  throw new CacheBiasError(`${what} takes a number from 0 to 1, not "${text}".`);
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value < Number.POSITIVE_INFINITY) return value;
  throw new CacheBiasError(`auto takes a bound in nats above 0, such as auto:${AUTO_ROUTE_KL}, not "${text}".`);
}
