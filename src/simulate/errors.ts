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

/** A policy needs what is neither in the trace nor given with it. */
export class PolicyNotReplayableError extends Error {
  override readonly name = "PolicyNotReplayableError";
  readonly policy: string;

  constructor(policy: string, needed: string, advice: string) {
    super(`Policy ${policy} cannot be simulated: it needs ${needed}. ${advice}`);
    this.policy = policy;
  }
}

/** A cache does not hold what one token needs in one layer; or one layer, for a policy that brings in whole layers. */
export class CacheTooSmallError extends Error {
  override readonly name = "CacheTooSmallError";
  readonly cacheBytes: number;
  readonly smallestBytes: number;

  /** @param wholeLayersOf the policy that brings in whole layers; undefined: those that do not need a token's experts */
  constructor(cacheBytes: number, smallestBytes: number, wholeLayersOf?: string) {
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const held =
      wholeLayersOf === undefined
        ? "the experts that one token uses in one layer"
        : `a layer, and ${wholeLayersOf} brings in whole layers`;
    super(`A cache of ${mib(cacheBytes)} cannot hold ${held}; ` + `the smallest that can is ${mib(smallestBytes)}.`);
    this.cacheBytes = cacheBytes;
    this.smallestBytes = smallestBytes;
  }
}
