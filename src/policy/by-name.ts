/**
 * Policies by the names that the command line, the configuration and traces use. A name is a base policy and
 * any number of additions after a plus sign: `next-use`, `lru+next-gate`.
 */
import type { Policy } from "../cache/policy.ts";
import { lfu } from "./lfu.ts";
import { lru } from "./lru.ts";
import { nextGate } from "./next-gate.ts";
import { nextUse } from "./next-use.ts";
import { onDemand } from "./on-demand.ts";
import { PolicySwitches } from "./policy-switches.ts";

/** A use counts half after this many tokens in `lfu-decayed`; the best single half-life on the recorded traces. */
const DECAYED_HALF_LIFE = 8;

/** What some policies are made from beyond their switches; which of them, their own files say. */
export interface PolicyResources {
  /** What a policy of this name had learned in an earlier run, from its `learned()`. @default it starts with nothing */
  readonly learned?: Uint8Array;
}

type Make = (switches: PolicySwitches, resources: PolicyResources) => Policy;

const BASES: Readonly<Record<string, Make>> = {
  "on-demand": onDemand,
  lru,
  lfu: () => lfu(),
  "lfu-decayed": () => lfu({ halfLife: DECAYED_HALF_LIFE }),
  "lfu-per-layer": () => lfu({ perLayer: true }),
  "next-use": () => nextUse(),
};

const ADDITIONS: Readonly<Record<string, (base: Policy) => Policy>> = {
  "next-gate": (base) => nextGate(base),
};

/** A policy name is not known; `known` lists those that are. */
export class UnknownPolicyError extends Error {
  override readonly name = "UnknownPolicyError";
  readonly policy: string;
  readonly known: readonly string[];

  constructor(policy: string, part: string, known: readonly string[] = policyNames()) {
    super(`unknown policy "${policy}": "${part}" is not one of ${known.join(", ")}`);
    this.policy = policy;
    this.known = known;
  }
}

/** Known names: bases, then additions with their plus sign. */
export function policyNames(): readonly string[] {
  return [...Object.keys(BASES), ...Object.keys(ADDITIONS).map((name) => `+${name}`)];
}

/**
 * A new policy.
 * @param name a base, its switches after a colon, additions after plus signs: `finemoe:threshold=coverage,distance=3`
 * @throws UnknownPolicyError, PolicySwitchError
 */
export function policyByName(name: string, resources: PolicyResources = {}): Policy {
  const [first = "", ...additions] = name.split("+");
  const [baseName = "", ...rest] = first.split(":");
  const base = Object.hasOwn(BASES, baseName) ? BASES[baseName] : undefined;
  if (base === undefined) throw new UnknownPolicyError(name, baseName);
  const switches = new PolicySwitches(name, rest.join(":"));
  const made = base(switches, resources);
  switches.finish();
  return additions.reduce((policy, addition) => {
    const add = Object.hasOwn(ADDITIONS, addition) ? ADDITIONS[addition] : undefined;
    if (add === undefined) throw new UnknownPolicyError(name, `+${addition}`);
    return add(policy);
  }, made);
}
