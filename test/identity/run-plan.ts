/**
 * Which combinations of budget, policy, back end and so on the identity gate runs. The full product would take hours;
 * here each architecture meets every budget, and over all architectures each pair of values of any two dimensions
 * occurs (`run-plan.test.ts` proves that).
 */
import { policyNames } from "../../src/policy/index.ts";

export const BUDGETS = ["all", "half", "quarter", "smallest"] as const;
/** Every base. */
export const POLICIES = policyNames().filter((name) => !name.startsWith("+"));
/** What may come on top of a base; nothing is one of them. */
export const ADDITIONS = ["", ...policyNames().filter((name) => name.startsWith("+"))];

/** Where experts are and how their bytes get there. */
export const STORAGES = ["owned, direct", "owned, pread", "page-cache"] as const;

export interface IdentityRun {
  readonly budget: (typeof BUDGETS)[number];
  readonly policy: string;
  readonly addition: string;
  readonly file: "single" | "split";
  readonly storage: (typeof STORAGES)[number];
  readonly recyclePages: boolean;
}

/** The runs of so many models: one for each model and budget, with bases rotating from model to model and budget to budget. */
export function runsOfModels(models: number): IdentityRun[][] {
  const starts = Array.from({ length: models }, (_, model) =>
    BUDGETS.map((budget, b) => ({ budget, policy: POLICIES[(model + b * 5) % POLICIES.length] })),
  );
  const runs = coveringPairs(starts.flat());
  return starts.map((_, model) => runs.slice(model * BUDGETS.length, (model + 1) * BUDGETS.length));
}

/** The runs of a model that is worth more time: every base with every budget. */
export function allRuns(): IdentityRun[] {
  return coveringPairs(POLICIES.flatMap((policy) => BUDGETS.map((budget) => ({ budget, policy }))));
}

type Start = Pick<IdentityRun, "budget" | "policy">;
type Rest = Omit<IdentityRun, keyof Start>;

/** Direct reads into memory of our own are what nearly everybody runs: half of the runs, once every pair has occurred. */
const RESTS: readonly Rest[] = [...STORAGES, STORAGES[0]].flatMap((storage) =>
  ADDITIONS.flatMap((addition) =>
    (["single", "split"] as const).flatMap((file) =>
      [true, false].map((recyclePages) => ({ storage, addition, file, recyclePages })),
    ),
  ),
);

/** Gives each start the rest with which it makes most pairs of values that no run before had. */
function coveringPairs(starts: readonly Start[]): IdentityRun[] {
  const seen = new Set<string>();
  return starts.map((start, i) => {
    let best: IdentityRun | undefined;
    let most = -1;
    for (let turn = 0; turn < RESTS.length; turn++) {
      const run = { ...start, ...RESTS[(i + turn) % RESTS.length] };
      // A base has only a few runs to meet everything in; the others meet in all of them.
      const worth = (pair: string) => (seen.has(pair) ? 0 : pair.includes("policy=") ? 10 : 1);
      const made = pairsOf(run).reduce((sum, pair) => sum + worth(pair), 0);
      if (made <= most) continue;
      best = run;
      most = made;
    }
    for (const pair of pairsOf(best as IdentityRun)) seen.add(pair);
    return best as IdentityRun;
  });
}

function pairsOf(run: IdentityRun): string[] {
  const values = Object.entries(run)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  return values.flatMap((a, i) => values.slice(i + 1).map((b) => `${a} ${b}`));
}

/** As `policyByName` takes it. */
export function policyOf({ policy, addition }: Pick<IdentityRun, "policy" | "addition">): string {
  return `${policy}${addition}`;
}

export function runName({ budget, file, storage, recyclePages, ...run }: IdentityRun): string {
  return `${budget}, ${policyOf(run)}, ${file} file, ${storage}, ${recyclePages ? "recycling" : "not recycling"}`;
}
