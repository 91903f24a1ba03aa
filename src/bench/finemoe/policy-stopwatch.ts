/**
 * How long a policy itself takes, apart from what the engine does around it: its calls are timed from outside. The clock costs a
 * tenth of a microsecond a call, which counts as the policy's.
 */
import type { Policy } from "../../cache/policy.ts";

const TIMED = ["iteration", "routed", "prefetch", "loading", "loaded", "discard", "victim"] as const;

export class PolicyStopwatch {
  /** Since the start. */
  ms = 0;
  /** Calls may lie within each other: only the outer one counts. */
  #inside = false;

  /** Replaces the policy's methods by timed ones; the object stays the same. */
  constructor(policy: Policy) {
    const methods = policy as unknown as Record<string, ((...args: never[]) => unknown) | undefined>;
    for (const name of TIMED) {
      const own = methods[name];
      if (own === undefined) continue;
      methods[name] = (...args) => {
        if (this.#inside) return own.apply(policy, args);
        this.#inside = true;
        const start = performance.now();
        try {
          return own.apply(policy, args);
        } finally {
          this.ms += performance.now() - start;
          this.#inside = false;
        }
      };
    }
  }
}
