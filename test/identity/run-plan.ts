/**
 * Which combinations of budget, policy, back end and so on the identity gate runs. The full product would take hours;
 * here each architecture meets every budget, and over all architectures each pair of values of any two dimensions
 * occurs (`run-plan.test.ts` proves that).
 */
import { policyNames } from "../../src/policy/index.ts";

export const BUDGETS = ["all", "half", "quarter", "smallest"] as const;
const BASES = policyNames().filter((name) => !name.startsWith("+"));
const ADDITIONS = policyNames().filter((name) => name.startsWith("+"));
/** Every base alone and with every addition. */
export const POLICIES = [...BASES, ...ADDITIONS.flatMap((addition) => BASES.map((base) => `${base}${addition}`))];

/** Where experts are and how their bytes get there. */
export const STORAGES = ["owned, direct", "owned, pread", "page-cache"] as const;

export interface IdentityRun {
  readonly budget: (typeof BUDGETS)[number];
  readonly policy: string;
  readonly file: "single" | "split";
  readonly storage: (typeof STORAGES)[number];
  readonly recyclePages: boolean;
}

/** The runs of the `index`-th model: one for each budget, the rest rotating from model to model and budget to budget. */
export function runsOfModel(index: number): IdentityRun[] {
  const round = Math.floor(index / POLICIES.length);
  return BUDGETS.map((_, b) => run(b, (index + b * 5) % POLICIES.length, index + round));
}

/** The runs of a model that is worth more time: every policy with every budget, the rest rotating. */
export function allRuns(): IdentityRun[] {
  return POLICIES.flatMap((_, p) => BUDGETS.map((_, b) => run(b, p, p)));
}

function run(b: number, p: number, rotation: number): IdentityRun {
  return {
    budget: BUDGETS[b],
    policy: POLICIES[p],
    file: (rotation + b) % 2 === 0 ? "single" : "split",
    // Direct reads into memory of our own are what nearly everybody runs: half of the runs.
    storage: [...STORAGES, STORAGES[0]][(Math.floor(rotation / 2) + b) % 4],
    recyclePages: (Math.floor(rotation / 8) + Math.floor(b / 2)) % 2 === 0,
  };
}

export function runName({ budget, policy, file, storage, recyclePages }: IdentityRun): string {
  return `${budget}, ${policy}, ${file} file, ${storage}, ${recyclePages ? "recycling" : "not recycling"}`;
}
