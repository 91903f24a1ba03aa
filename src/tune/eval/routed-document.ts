/**
 * What one variant of a model did with one document: the experts its tokens used, and how far its routers and its predictions
 * strayed from the base's. Plain data between those who run a model and those who make figures; no arithmetic beyond sums.
 */
import type { ExpertSequence, RoutingShape } from "../../locality/expert-sequence.ts";
import { NO_ID } from "../../trace/trace.ts";

/** Against the base, sums over the document's tokens. */
export interface DocumentDrift {
  /** Tokens with a next one. */
  readonly predictions: number;
  /** Sum of losses of the text's own next tokens, nats. */
  readonly loss: number;
  /** KL(base || variant) of the next token's distribution, nats: sum over predictions. */
  readonly kl: number;
  /** Predictions whose likeliest token is the base's. */
  readonly sameTop: number;
  /** Router decisions (tokens x layers) that the following sums are over; 0 where the graph does not show them. */
  readonly decisions: number;
  /** KL(P || P_base) of the variant's and the frozen gate on the same input, nats. */
  readonly trustKl: number;
  /** The frozen gate's probability of the experts used, over that of the experts it would have used. */
  readonly keptMass: number;
  /** Share of the experts used that the frozen gate would have used too. */
  readonly agreement: number;
}

export interface RoutedDocument {
  readonly domain: string;
  /** Tokens whose routing counts. */
  readonly tokens: number;
  /** `[tokens][layers][used]`, best first; NO_ID where a layer uses fewer. */
  readonly experts: Uint16Array;
  /** Undefined for generated text: there is no other text to compare with. */
  readonly drift: DocumentDrift | undefined;
  /** Share of the text's runs of four tokens that were there before: greedy text of a small model goes in circles. */
  readonly repetition: number;
}

/** One document behind another, as a cache sees them that is not emptied between. */
export function joinedDocuments(first: RoutedDocument, second: RoutedDocument): RoutedDocument {
  const experts = new Uint16Array(first.experts.length + second.experts.length);
  experts.set(first.experts);
  experts.set(second.experts, first.experts.length);
  return { ...second, tokens: first.tokens + second.tokens, experts };
}

/** What one layer used, for the caches of `locality`: all experts of a token are looked up at once. */
export function layerSequence({ tokens, experts }: RoutedDocument, layer: number, shape: RoutingShape): ExpertSequence {
  const { layers, experts: count, expertsUsed } = shape;
  const ids = new Uint16Array(tokens * expertsUsed);
  const starts = new Int32Array(tokens + 1);
  let at = 0;
  for (let t = 0; t < tokens; t++) {
    starts[t] = at;
    const from = (t * layers + layer) * expertsUsed;
    for (let slot = from; slot < from + expertsUsed && experts[slot] !== NO_ID; slot++) ids[at++] = experts[slot];
  }
  starts[tokens] = at;
  return { experts: count, tokens, ids, starts };
}

/** What all layers used, each layer of each token looked up on its own; ids are layer * E + expert. */
export function modelSequence({ tokens, experts }: RoutedDocument, shape: RoutingShape): ExpertSequence {
  const { layers, experts: count, expertsUsed } = shape;
  const ids = new Uint16Array(tokens * layers * expertsUsed);
  const starts = new Int32Array(tokens * layers + 1);
  let at = 0;
  for (let row = 0; row < tokens * layers; row++) {
    starts[row] = at;
    for (let slot = row * expertsUsed; slot < (row + 1) * expertsUsed && experts[slot] !== NO_ID; slot++)
      ids[at++] = (row % layers) * count + experts[slot];
  }
  starts[tokens * layers] = at;
  return { experts: layers * count, tokens: tokens * layers, ids, starts };
}

/** The same look-ups one expert at a time, best first: a cache may then evict what the same token needs a moment later. */
export function oneByOne({ experts, tokens, ids, starts }: ExpertSequence): ExpertSequence {
  const uses = starts[tokens];
  return { experts, tokens: uses, ids, starts: Int32Array.from({ length: uses + 1 }, (_, i) => i) };
}

/** Share of runs of four tokens that stood in the text before. */
export function repetitionOf(tokens: ArrayLike<number>): number {
  const seen = new Set<string>();
  let repeated = 0;
  for (let i = 3; i < tokens.length; i++) {
    const run = `${tokens[i - 3]} ${tokens[i - 2]} ${tokens[i - 1]} ${tokens[i]}`;
    if (seen.has(run)) repeated++;
    seen.add(run);
  }
  return tokens.length < 4 ? 0 : repeated / (tokens.length - 3);
}
