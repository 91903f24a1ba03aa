/**
 * The parts of `warmset` that can be switched off, and its two numbers. Each switch takes away what one mechanism
 * earns, so that a table of results says what that is; only the reading of switches.
 */
import type { PolicySwitches } from "../policy-switches.ts";

export interface WarmsetOptions {
  /** Weights are learned while running; off keeps the first ones. @default true */
  readonly learn: boolean;
  /** Ask for the routers' distributions, and rank by them too. @default true */
  readonly preference: boolean;
  /** Remember which experts a token id used. @default true */
  readonly token: boolean;
  /** Ask what the next layer's router would choose. @default true */
  readonly gate: boolean;
  /** Read ahead at all. @default true */
  readonly prefetch: boolean;
  /** Begin with what an earlier run has learned. @default true */
  readonly prior: boolean;
  /** Read ahead what is needed with at least this probability. @default 0.6 */
  readonly confidence: number;
  /**
   * Horizon of values over the time that an expert stays in memory. 0.35 to 1 are alike; longer ones value what will be
   * evicted before it is needed. @default 0.5
   */
  readonly horizon: number;
}

export const WARMSET_DEFAULTS: WarmsetOptions = {
  learn: true,
  preference: true,
  token: true,
  gate: true,
  prefetch: true,
  prior: true,
  confidence: 0.6,
  horizon: 0.5,
};

export function warmsetOptions(switches: PolicySwitches): WarmsetOptions {
  const defaults = WARMSET_DEFAULTS;
  return {
    learn: switches.flag("learn") ?? defaults.learn,
    preference: switches.flag("preference") ?? defaults.preference,
    token: switches.flag("token") ?? defaults.token,
    gate: switches.flag("gate") ?? defaults.gate,
    prefetch: switches.flag("prefetch") ?? defaults.prefetch,
    prior: switches.flag("prior") ?? defaults.prior,
    confidence: switches.number("confidence", 0.01, 1) ?? defaults.confidence,
    horizon: switches.number("horizon", 0.01, 100) ?? defaults.horizon,
  };
}
