/** What cannot be simulated, and what to do instead. */

/** Tokens of one batch and layer use different numbers of experts; the engine's graphs have one number per layer. */
export class UnevenChoiceError extends Error {
  override readonly name = "UnevenChoiceError";
  readonly sample: number;
  readonly position: number;
  readonly layer: number;

  constructor(sample: number, position: number, layer: number, used: number, before: number) {
    super(
      `Sample ${sample}, position ${position}, layer ${layer}: the token uses ${used} experts, another one of its batch ` +
        `${before}. Replay it token by token (as decode).`,
    );
    this.sample = sample;
    this.position = position;
    this.layer = layer;
  }
}

/** A policy needs what no trace holds. */
export class PolicyNotReplayableError extends Error {
  override readonly name = "PolicyNotReplayableError";
  readonly policy: string;

  constructor(policy: string, needed: string, advice: string) {
    super(`Policy ${policy} cannot be simulated: it needs ${needed}, which a trace does not hold. ${advice}`);
    this.policy = policy;
  }
}

/** A cache does not hold what one token needs in one layer. */
export class CacheTooSmallError extends Error {
  override readonly name = "CacheTooSmallError";
  readonly cacheBytes: number;
  readonly smallestBytes: number;

  constructor(cacheBytes: number, smallestBytes: number) {
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    super(
      `A cache of ${mib(cacheBytes)} cannot hold the experts that one token uses in one layer; ` +
        `the smallest that can is ${mib(smallestBytes)}.`,
    );
    this.cacheBytes = cacheBytes;
    this.smallestBytes = smallestBytes;
  }
}
