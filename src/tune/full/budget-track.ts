/**
 * Holds a measured divergence at a budget by moving a weight a little in each step. Gates follow their weights tens of steps
 * later, so what counts is where the divergence is heading: as far beyond its mean of some steps as that is from its mean of
 * many. Adapted every 50 steps by 1.5 instead, runs of 60 to 200 steps overshot their budget two to four times.
 */

export interface BudgetTrack {
  /** Mean over some 3 steps. */
  soon: number;
  /** Mean over some 16 steps. */
  long: number;
}

const SOON_SHARE = 0.3;
const LONG_SHARE = 0.06;
/** Of a step's change of the weight, at most: 50 steps are a factor of 7. */
const GAIN = 0.04;
/** Keeps factors finite and above 0: before anything has moved, and with a budget of 0. */
const SMALLEST = 1e-6;

export function followDivergence(track: BudgetTrack, divergence: number): void {
  track.soon += SOON_SHARE * (divergence - track.soon);
  track.long += LONG_SHARE * (divergence - track.long);
}

/** What to multiply a weight that widens the divergence with, for good: above 1 below the budget. Divide one that narrows it. */
export function lastingFactor(track: BudgetTrack, budget: number): number {
  return Math.exp(GAIN * Math.max(-1, Math.min(1, Math.log(room(track, budget)))));
}

/** The same for the next step alone: 1 within the budget, and steeply less beyond it, so that nothing runs away. */
export function passingFactor(track: BudgetTrack, budget: number): number {
  return Math.min(1, room(track, budget) ** 2);
}

/** The budget over where the divergence is heading. */
function room({ soon, long }: BudgetTrack, budget: number): number {
  return Math.max(SMALLEST, budget) / Math.max(SMALLEST, 2 * soon - long);
}
