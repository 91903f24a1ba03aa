/** What vocabulary specialisation keeps of a piece: its tokens in three senses and the best expert of each layer. */
import type { RoutingShape } from "./expert-sequence.ts";
import type { VocabularyPiece } from "./phase-sums.ts";
import type { SamplePiece } from "./sample-pieces.ts";

/** Where a token has no predicted or next one. */
export const NO_TOKEN = -1;

/** undefined when the sample came without token ids. */
export function vocabularyPiece(
  { sample, begin, end }: SamplePiece,
  { layers, expertsUsed }: RoutingShape,
): VocabularyPiece | undefined {
  const { tokens, predicted, experts, length } = sample;
  if (tokens === undefined) return undefined;
  const next = tokens.slice(begin + 1, Math.min(end + 1, length));
  const best = new Uint16Array((end - begin) * layers);
  for (let i = 0; i < best.length; i++) best[i] = experts[(begin * layers + i) * expertsUsed];
  return {
    tokens: tokens.slice(begin, end),
    next: end < length ? next : Int32Array.from({ length: end - begin }, (_, t) => next[t] ?? NO_TOKEN),
    predicted: predicted?.slice(begin, end),
    best,
  };
}
