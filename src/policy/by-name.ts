/**
 * Policies by the names that the command line, the configuration and traces use. A name is a base policy and
 * any number of additions after a plus sign: `next-use`, `lru+next-gate`.
 */
import type { Policy } from "../cache/policy.ts";
import type { RouterPredictor } from "../predict/router-predictor.ts";
import { deepspeed, layerStream } from "./deepspeed.ts";
import { FineMoe } from "./finemoe/finemoe.ts";
import { fineMoeOptions } from "./finemoe/options.ts";
import { leastStale } from "./least-stale.ts";
import { lfu } from "./lfu.ts";
import { lru } from "./lru.ts";
import { mixtralOffload } from "./mixtral-offload.ts";
import { moeInfinity } from "./moe-infinity.ts";
import { nextGate } from "./next-gate.ts";
import { nextUse } from "./next-use.ts";
import { onDemand } from "./on-demand.ts";
import { PolicySwitches } from "./policy-switches.ts";
import { proMoe } from "./promoe.ts";
import { slru } from "./slru.ts";
import { warmsetOptions } from "./warmset/options.ts";
import { warmset } from "./warmset/warmset.ts";

/** A use counts half after this many tokens in `lfu-decayed`; the best single half-life on the recorded traces. */
const DECAYED_HALF_LIFE = 8;

/** What some policies are made from beyond their switches; which of them, their own files say. */
export interface PolicyResources {
  /** What a policy of this name had learned in an earlier run, from its `learned()`. @default it starts with nothing */
  readonly learned?: Uint8Array;
  /** Expert maps for `finemoe`, a file's bytes (`warmset maps`); in place of what it had learned. @default none */
  readonly maps?: Uint8Array | undefined;
  /** For `promoe`: what `warmset train-predictor` made for this model. @default none, and `promoe` is refused */
  readonly predictor?: RouterPredictor | undefined;
  /** The host's clock in ms, for figures of what computing costs, never for decisions. @default no such figures */
  readonly stopwatch?: (() => number) | undefined;
  /** SHA-256 of the model's header, so that what is of another model is refused. @default unknown, and not checked */
  readonly modelHash?: string | undefined;
  /** The policy runs in virtual time: what takes time must take it by the host's clock. @default false */
  readonly simulated?: boolean | undefined;
}

type Make = (switches: PolicySwitches, resources: PolicyResources) => Policy;

const BASES: Readonly<Record<string, Make>> = {
  warmset: (switches, { learned }) => warmset(warmsetOptions(switches), learned),
  "on-demand": onDemand,
  lru,
  lfu: () => lfu(),
  "lfu-decayed": () => lfu({ halfLife: DECAYED_HALF_LIFE }),
  "lfu-per-layer": () => lfu({ perLayer: true }),
  slru: (switches) => slru(given({ protectedShare: switches.number("protected", 0, 1) })),
  "least-stale": (switches) => leastStale(given({ order: switches.word("order", ["fifo", "layer"]) })),
  "next-use": () => nextUse(),
  deepspeed: (switches) => deepspeed(given({ cache: switches.flag("cache") })),
  "layer-stream": (switches) => layerStream(given({ cache: switches.flag("cache") })),
  "mixtral-offload": (switches) =>
    mixtralOffload(
      given({ speculate: switches.integer("speculate", 0, 8), buffers: switches.integer("buffers", 1, 64) }),
    ),
  "moe-infinity": (switches, { learned }) =>
    moeInfinity({
      ...given({
        eamc: switches.integer("eamc", 1, 100_000),
        match: switches.word("match", ["best", "sum"]),
        replace: switches.word("replace", ["similar", "least-accessed"]),
      }),
      learned,
    }),
  finemoe: (switches, resources) => new FineMoe("finemoe", fineMoeOptions(switches), resources),
  "finemoe-plus": (switches, resources) =>
    new FineMoe("finemoe-plus", fineMoeOptions(switches, { plus: true }), resources),
  promoe: (switches, { predictor, stopwatch }) =>
    proMoe({
      predictor,
      ...given({
        stride: switches.integer("stride", 0, 8),
        window: switches.integer("window", 1, 8),
        k: switches.integer("k", 1, 1024),
        touch: switches.flag("touch"),
        tokens: switches.integer("tokens", 1, 512),
      }),
      stopwatch,
    }),
  "moe-infinity-shipped": () => lfu({ sinceLoaded: true }),
};

/** Options without the switches that were not given, so that defaults hold. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

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
