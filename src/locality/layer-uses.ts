/**
 * Plain counts of a layer's expert uses in one sample: how often, how long since the last time, how much the next token
 * shares. Also where a trace whose rows make no sense is refused, because every other metric relies on it.
 */
import { TraceError } from "../trace/trace-error.ts";
import type { ExpertSequence, SampleRange } from "./expert-sequence.ts";

export interface UseTargets {
  /** [usesAt + expert] */
  readonly uses: Uint32Array;
  readonly usesAt: number;
  /** [distancesAt + tokens since the last use]; 0: first use in the sample. */
  readonly distances: Float64Array;
  readonly distancesAt: number;
}

/**
 * Returns how many uses the token before had too.
 * @param lastToken [E] scratch
 * @throws TraceError `expert-range`, `duplicate-expert`
 */
export function countUses(
  { experts, tokens, ids, starts }: ExpertSequence,
  { uses, usesAt, distances, distancesAt }: UseTargets,
  lastToken: Int32Array,
  range: SampleRange,
  layer: number,
): number {
  lastToken.fill(-1, 0, experts);
  let overlap = 0;
  for (let t = 0; t < tokens; t++) {
    for (let i = starts[t], end = starts[t + 1]; i < end; i++) {
      const expert = ids[i];
      if (expert >= experts) throw badRow(range, t, layer, expert, experts);
      const last = lastToken[expert];
      if (last === t) throw badRow(range, t, layer, expert, experts);
      if (last >= 0 && last === t - 1) overlap++;
      lastToken[expert] = t;
      distances[distancesAt + (last < 0 ? 0 : t - last)]++;
      uses[usesAt + expert]++;
    }
  }
  return overlap;
}

function badRow({ sample, begin }: SampleRange, token: number, layer: number, expert: number, experts: number) {
  const place = { sample: sample.sample, position: begin + token, layer };
  return expert >= experts
    ? new TraceError("expert-range", place, `expert ${expert}, but the model has ${experts}. Record the trace again.`)
    : new TraceError("duplicate-expert", place, `expert ${expert} is listed twice. Record the trace again.`);
}
