/**
 * Published figures that rows may be held against. "Nemo" is arXiv 2603.09605 (figures 12 to 19, tables 3 to 6) as reported in
 * reading notes of its text: Twitter mix of mean 246 bytes, 360 GB. What depends on other hardware is left out.
 */
import type { EngineName } from "../engine.ts";

export interface PublishedEngine {
  /** Application-level write amplification in steady state. */
  readonly alwa: number;
  readonly comparable: string;
}

export const PUBLISHED: Readonly<Record<EngineName, PublishedEngine>> = {
  nemo: {
    alwa: 1.56,
    comparable:
      "1.56 (Nemo): 1.4 with a flush threshold of 1.5 % of the sets, 1.6 with 0.36 %. Not: 8.3 bits an object, which leaves buffers and the real filter size out.",
  },
  log: { alwa: 1.08, comparable: "1.08 (Nemo); 1.00 to 1.08 elsewhere, by padding." },
  set: { alwa: 16.31, comparable: "16.31 (Nemo) = 4,096 bytes over the mean object, at any mean." },
  fairywren: {
    alwa: 15.2,
    comparable:
      "15.20 (Nemo) with 5 % log and 5 % reserve. Not: 1.89 of its first paper, measured with most log objects lost.",
  },
  kangaroo: {
    alwa: 55.59,
    comparable:
      "Its order alone: above set on zones, below it on a drive that cleans by itself. 55.59 is another group's port.",
  },
};

/** Fill of a written unit by rung of the ladder (Nemo, figure 17). New objects alone, but for the last, which is all. */
export const PUBLISHED_FILL = { naive: 0.0678, B: 0.3132, P: 0.3677, "B+P": 0.6413, "B+P+W": 0.8934 } as const;
