/**
 * Fill rates that are known for a stream of new objects only: sizes log-normal with mean 246 bytes, clipped to 20..2,048, sets of
 * 4,072 usable bytes, 14 bytes beside an object, order of placing as in the paper. From a simulation of the placing alone, made
 * independently of this project's engine; about +-1 point, naive +-3 points with few sets.
 */
import type { AblationRow } from "./results.ts";

export type Rung = "naive" | "B" | "P" | "B+P";

interface KnownFill {
  readonly sets: number;
  /** Of the log of sizes; 0: all of 246 bytes. */
  readonly sigma: number;
  readonly fill: Readonly<Record<Rung, number>>;
}

/** Flush threshold 1.5 % of the sets. */
const KNOWN: readonly KnownFill[] = [
  { sets: 275_712, sigma: 0, fill: { naive: 0.241, B: 0.566, P: 0.507, "B+P": 0.831 } },
  { sets: 275_712, sigma: 0.5, fill: { naive: 0.156, B: 0.555, P: 0.469, "B+P": 0.827 } },
  { sets: 275_712, sigma: 0.9, fill: { naive: 0.031, B: 0.21, P: 0.356, "B+P": 0.748 } },
  { sets: 16_384, sigma: 0, fill: { naive: 0.306, B: 0.686, P: 0.508, "B+P": 0.833 } },
  { sets: 16_384, sigma: 0.5, fill: { naive: 0.224, B: 0.619, P: 0.468, "B+P": 0.827 } },
  { sets: 16_384, sigma: 0.9, fill: { naive: 0.086, B: 0.364, P: 0.357, "B+P": 0.749 } },
  { sets: 4096, sigma: 0, fill: { naive: 0.341, B: 0.723, P: 0.507, "B+P": 0.831 } },
  { sets: 4096, sigma: 0.9, fill: { naive: 0.124, B: 0.457, P: 0.364, "B+P": 0.747 } },
];

/** A rung's fill beside what is known for it: of new objects where that was simulated, of all where it was published. */
export function rungFill({ row, knownFill }: AblationRow) {
  const simulated = knownFill?.simulated ?? null;
  return {
    fill: simulated === null ? row.fillRate.all : row.fillRate.fresh,
    known: simulated ?? knownFill?.published ?? null,
    isSimulated: simulated !== null,
  };
}

/** Undefined: not known for this many sets (within 1 %) and this spread. */
export function knownFill(rung: Rung, sets: number, sigma: number): number | undefined {
  return KNOWN.find((known) => Math.abs(known.sets / sets - 1) < 0.01 && known.sigma === sigma)?.fill[rung];
}
