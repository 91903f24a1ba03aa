/**
 * Policies by name as a replay runs them: those of the engine, and the two that know the future. What the engine reads
 * out of a running graph and neither the trace nor the traced model's file has makes a policy impossible here; that is an
 * error, never a substitute.
 */
import { NEEDS_NOTHING, type Policy, type PolicyNeeds } from "../cache/policy.ts";
import { belady } from "../policy/belady.ts";
import { type PolicyResources, policyByName, policyNames, UnknownPolicyError } from "../policy/by-name.ts";
import { oraclePrefetch } from "../policy/oracle-prefetch.ts";
import { PolicySwitches } from "../policy/policy-switches.ts";
import type { RecordedFuture } from "../policy/recorded-future.ts";
import { PolicyNotReplayableError } from "./errors.ts";

export interface ReplayPolicy {
  readonly name: string;
  /** `create` must be given the run to come. */
  readonly knowsFuture: boolean;
  /** What the trace, or the traced model, must have; see `checkReplayable`. */
  readonly needs: PolicyNeeds;
  /** A new one, for a new cache. */
  create(future: RecordedFuture | undefined, resources?: PolicyResources): Policy;
}

const PROPHETS: Readonly<Record<string, (switches: PolicySwitches) => (future: RecordedFuture) => Policy>> = {
  belady: () => belady,
  "oracle-prefetch": (switches) => {
    const distance = switches.integer("distance", 1, 1_000_000);
    return (future) => oraclePrefetch(future, { distance });
  },
};

/** Names that `replayPolicy` knows. */
export function replayPolicyNames(): readonly string[] {
  const [bases, additions] = [false, true].map((wanted) =>
    policyNames().filter((name) => name.startsWith("+") === wanted),
  );
  return [...bases, ...Object.keys(PROPHETS), ...additions];
}

/** @throws UnknownPolicyError, PolicySwitchError */
export function replayPolicy(name: string): ReplayPolicy {
  const [base = "", ...rest] = name.split(":");
  const prophet = Object.hasOwn(PROPHETS, base) ? PROPHETS[base] : undefined;
  if (prophet === undefined)
    return { name, knowsFuture: false, needs: known(name).needs, create: (_, resources) => made(name, resources) };
  const switches = new PolicySwitches(name, rest.join(":"));
  const make = prophet(switches);
  switches.finish();
  return {
    name,
    knowsFuture: true,
    needs: NEEDS_NOTHING,
    create(future) {
      if (future === undefined) throw new Error(`${name} was not given the run to come`);
      return make(future);
    },
  };
}

/** What there is for policies beside the choices themselves. */
export interface ReplaySignals {
  /** Of the trace. */
  readonly tokens: boolean;
  /** The routers' inputs, of the trace. */
  readonly hidden: boolean;
  /** Of the traced model. */
  readonly embeddings: boolean;
  /** What is made of the trace's routers' inputs and the traced model's routers. */
  readonly nextGate: boolean;
}

const GIVE_MODEL = "Give the traced model (--model FILE; `weights` in the library).";
const RECORD_HIDDEN = "Record the routers' inputs (warmset trace MODEL --hidden).";

/** @throws PolicyNotReplayableError when a policy needs what is not there */
export function checkReplayable({ name, needs }: ReplayPolicy, there: ReplaySignals): void {
  const { tokens, hidden, embeddings, nextGate } = there;
  const refuse = (needed: string, ...advice: string[]) => {
    throw new PolicyNotReplayableError(name, needed, advice.join(" "));
  };
  if (needs.nextGate && !nextGate && !needs.copesWithout?.includes("nextGate"))
    refuse(
      "what the next layer's router says to this layer's state, which is made of the routers' inputs and the model's weights",
      ...(hidden ? [] : [RECORD_HIDDEN]),
      GIVE_MODEL,
      `Without look-ahead (${name.split("+")[0]}) and with a perfect one (oracle-prefetch) it can be simulated: it lies between.`,
    );
  if (needs.hidden && !hidden) refuse("the routers' inputs, which this trace does not hold", RECORD_HIDDEN);
  if (needs.copesWithout?.includes("embeddings")) return;
  if (needs.embeddings && !tokens)
    refuse("embedding rows, and this trace does not hold the tokens", "Record it with warmset trace.");
  if (needs.embeddings && !embeddings) refuse("embedding rows, which no trace holds", GIVE_MODEL);
}

/** A policy for virtual time. */
function made(name: string, resources: PolicyResources = {}): Policy {
  return policyByName(name, { ...resources, simulated: true });
}

function known(name: string): Policy {
  try {
    return policyByName(name);
  } catch (error) {
    throw error instanceof UnknownPolicyError ? new UnknownPolicyError(name, name, replayPolicyNames()) : error;
  }
}
