/**
 * The names under which a policy learns from training prompts and is then tested with what it learned. Published FineMoE stores
 * every token of the training prompts and keeps the store as it is while it is tested; online it takes one row a prompt.
 */

interface Variant {
  /** Switches for learning. */
  readonly teach: string;
  /** Switches for the test after it. */
  readonly test: string;
  /** Only these of the name's own switches change what is learned. */
  readonly matter: readonly string[];
}

const MAPS: Variant = { teach: "record=token", test: "store=frozen", matter: ["capacity", "record"] };
const VARIANTS: Readonly<Record<string, Variant>> = { finemoe: MAPS, "finemoe-plus": MAPS };

/** The policy that is run over the training prompts. Policies that learn the same have the same. */
export function teachingName(policy: string): string {
  const { base, switches, additions, variant } = partsOf(policy);
  if (variant === undefined) return policy;
  const own = switches.filter((text) => variant.matter.includes(nameOf(text)));
  return joined(base, withDefaults(own, variant.teach), additions);
}

/** The policy that is tested with what was learned. */
export function offlineName(policy: string): string {
  const { base, switches, additions, variant } = partsOf(policy);
  return variant === undefined ? policy : joined(base, withDefaults(switches, variant.test), additions);
}

/** What it learns is a store of expert maps. */
export function isMapPolicy(policy: string): boolean {
  return partsOf(policy).variant !== undefined;
}

function partsOf(policy: string) {
  const [first = "", ...additions] = policy.split("+");
  const [base = "", ...rest] = first.split(":");
  const switches = rest.join(":").split(",").filter(Boolean);
  return { base, switches, additions, variant: Object.hasOwn(VARIANTS, base) ? VARIANTS[base] : undefined };
}

/** A switch that the name has already stays as it is. */
function withDefaults(switches: readonly string[], more: string): readonly string[] {
  return switches.some((text) => nameOf(text) === nameOf(more)) ? switches : [...switches, more];
}

function joined(base: string, switches: readonly string[], additions: readonly string[]): string {
  return [switches.length === 0 ? base : `${base}:${switches.join(",")}`, ...additions].join("+");
}

function nameOf(text: string): string {
  return text.split("=")[0];
}
