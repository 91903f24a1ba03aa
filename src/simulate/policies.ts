/**
 * Policies by name as a replay runs them: those of the engine, and the two that know the future. What the engine reads
 * out of a running graph and a trace does not hold makes a policy impossible here; that is an error, never a substitute.
 */
import type { Policy } from "../cache/policy.ts";
import { belady } from "../policy/belady.ts";
import { policyByName, policyNames, UnknownPolicyError } from "../policy/by-name.ts";
import { oraclePrefetch } from "../policy/oracle-prefetch.ts";
import type { RecordedFuture } from "../policy/recorded-future.ts";
import { PolicyNotReplayableError } from "./errors.ts";

export interface ReplayPolicy {
  readonly name: string;
  /** `create` must be given the run to come. */
  readonly knowsFuture: boolean;
  /** A new one, for a new cache. */
  create(future: RecordedFuture | undefined): Policy;
}

const PROPHETS: Readonly<Record<string, (future: RecordedFuture) => Policy>> = {
  belady,
  "oracle-prefetch": oraclePrefetch,
};

/** Names that `replayPolicy` knows. */
export function replayPolicyNames(): readonly string[] {
  return [...policyNames().filter((name) => !name.startsWith("+")), ...Object.keys(PROPHETS)];
}

/** @throws UnknownPolicyError, PolicyNotReplayableError */
export function replayPolicy(name: string): ReplayPolicy {
  const prophet = Object.hasOwn(PROPHETS, name) ? PROPHETS[name] : undefined;
  if (prophet !== undefined)
    return {
      name,
      knowsFuture: true,
      create(future) {
        if (future === undefined) throw new Error(`${name} was not given the run to come`);
        return prophet(future);
      },
    };
  const { needs } = known(name);
  const refuse = (needed: string) => {
    throw new PolicyNotReplayableError(
      name,
      needed,
      `Without look-ahead (${name.split("+")[0]}) and with a perfect one (oracle-prefetch) can be simulated: it lies between.`,
    );
  };
  if (needs.nextGate) refuse("what the next layer's router says to this layer's state");
  if (needs.embeddings) refuse("embedding rows");
  if (needs.hidden) refuse("the router's input");
  return { name, knowsFuture: false, create: () => policyByName(name) };
}

function known(name: string): Policy {
  try {
    return policyByName(name);
  } catch (error) {
    throw error instanceof UnknownPolicyError ? new UnknownPolicyError(name, name, replayPolicyNames()) : error;
  }
}
