/**
 * Vocabulary specialisation: how far experts belong to certain tokens. Each token id that occurs often enough is assigned, layer
 * by layer, to the expert that is most often its best one; an expert's VS is the mean share of the ids assigned to it.
 */
import { NO_ID } from "../trace/trace.ts";
import { mean } from "./correlation.ts";
import type { RoutingShape } from "./expert-sequence.ts";
import type { VocabularyPiece } from "./phase-sums.ts";
import type { ExpertToken, ExpertVocabulary, TokenKind, VocabularyKind } from "./report-data.ts";

/** The paper's: rarer token ids say nothing about an expert. */
export const SMALLEST_COUNT = 20;
const LISTED_TOKENS = 15;
const LISTED_EXPERTS = 32;
/** Experts with fewer ids than this are not worth listing: one id that always goes there has VS 1. */
const SMALLEST_LIST = 5;

export type TokenText = (token: number) => string | null;

const KINDS = [
  ["input", (piece: VocabularyPiece) => piece.tokens],
  ["predicted", (piece: VocabularyPiece) => piece.predicted],
  ["next", (piece: VocabularyPiece) => piece.next],
] as const satisfies readonly (readonly [TokenKind, (piece: VocabularyPiece) => Int32Array | undefined])[];

/** Of each kind of token for which some id occurs often enough. */
export function vocabularyKinds(
  pieces: readonly VocabularyPiece[],
  shape: RoutingShape,
  text: TokenText = () => null,
): VocabularyKind[] {
  return KINDS.flatMap(([kind, tokensOf]) => {
    const occurrences = frequentTokens(pieces.map(tokensOf));
    return occurrences.size === 0 ? [] : [vocabularyKind(kind, pieces, tokensOf, occurrences, shape, text)];
  });
}

function frequentTokens(lists: readonly (Int32Array | undefined)[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const tokens of lists)
    for (const token of tokens ?? []) if (token >= 0) counts.set(token, (counts.get(token) ?? 0) + 1);
  return new Map([...counts].filter(([, count]) => count >= SMALLEST_COUNT).sort(([a], [b]) => a - b));
}

function vocabularyKind(
  kind: TokenKind,
  pieces: readonly VocabularyPiece[],
  tokensOf: (piece: VocabularyPiece) => Int32Array | undefined,
  occurrences: ReadonlyMap<number, number>,
  { layers, experts }: RoutingShape,
  text: TokenText,
): VocabularyKind {
  const ids = [...occurrences.keys()];
  const slots = new Map(ids.map((id, slot) => [id, slot]));
  const expertVs: (number | null)[][] = [];
  const listed: ExpertVocabulary[] = [];
  const counts = new Uint32Array(ids.length * experts);
  for (let layer = 0; layer < layers; layer++) {
    counts.fill(0);
    for (const piece of pieces) {
      const tokens = tokensOf(piece) ?? [];
      for (let t = 0; t < tokens.length; t++) {
        const slot = slots.get(tokens[t]);
        const best = piece.best[t * layers + layer];
        if (slot !== undefined && best !== NO_ID) counts[slot * experts + best]++;
      }
    }
    const assigned = assign(counts, ids, occurrences, experts);
    expertVs.push(assigned.map((tokens) => (tokens.length === 0 ? null : mean(tokens.map(({ share }) => share)))));
    assigned.forEach((tokens, expert) => {
      if (tokens.length >= SMALLEST_LIST) listed.push(listing(layer, expert, tokens));
    });
  }
  const known = expertVs.flat().filter((value) => value !== null);
  return {
    kind,
    vocabulary: ids.length,
    specialisation: mean(known),
    expertVs,
    examples: listed
      .sort((a, b) => b.specialisation - a.specialisation || a.layer - b.layer || a.expert - b.expert)
      .slice(0, LISTED_EXPERTS)
      .map((example) => ({
        ...example,
        tokens: example.tokens.map((entry) => ({ ...entry, text: text(entry.token) })),
      })),
  };
}

/** The token ids of each expert. Of experts with equal shares the first gets the id. */
function assign(
  counts: Uint32Array,
  ids: readonly number[],
  occurrences: ReadonlyMap<number, number>,
  experts: number,
): ExpertToken[][] {
  const assigned: ExpertToken[][] = Array.from({ length: experts }, () => []);
  ids.forEach((token, slot) => {
    let best = 0;
    for (let expert = 1; expert < experts; expert++)
      if (counts[slot * experts + expert] > counts[slot * experts + best]) best = expert;
    const total = occurrences.get(token) as number;
    const share = counts[slot * experts + best] / total;
    if (share > 0) assigned[best].push({ token, text: null, share, occurrences: total });
  });
  return assigned;
}

function listing(layer: number, expert: number, tokens: readonly ExpertToken[]): ExpertVocabulary {
  return {
    layer,
    expert,
    specialisation: mean(tokens.map(({ share }) => share)),
    assigned: tokens.length,
    tokens: [...tokens]
      .sort((a, b) => b.share - a.share || b.occurrences - a.occurrences || a.token - b.token)
      .slice(0, LISTED_TOKENS),
  };
}
