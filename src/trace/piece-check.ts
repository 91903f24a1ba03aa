/** What a writer asks of the pieces that it is given: shapes, ranges and order. A mistake is the caller's, and is named. */
import { checkExpertRows, firstDescent, firstNotFinite } from "./row-check.ts";
import { DECODE, NO_ID, type TraceDescription, type TracePiece } from "./trace.ts";
import { TraceError, type TracePlace } from "./trace-error.ts";

/** Where the sample stands when the piece comes. */
export interface PieceFacts {
  readonly sample: number;
  /** Of the piece's first token. */
  readonly position: number;
  /** Of the token before it. */
  readonly batch: number;
}

/** @throws TraceError `bad-sample` */
export function checkPiece(piece: TracePiece, description: TraceDescription, facts: PieceFacts): { ragged: boolean } {
  const { model, columns, recording } = description;
  const layers = model.moeBlocks.length;
  const k = model.expertsUsed;
  const wrong = (place: TracePlace, sentence: string) =>
    new TraceError("bad-sample", { sample: facts.sample, ...place }, sentence);
  const atRow = (row: number): TracePlace => ({
    position: facts.position + Math.floor(row / layers),
    layer: row % layers,
  });
  const mustHave = (name: string, values: { readonly length: number } | undefined, perToken: number) => {
    const length = values?.length ?? 0;
    if (length !== perToken * piece.length)
      throw wrong({}, `"${name}" has ${length} values for ${piece.length} tokens, not ${perToken * piece.length}.`);
  };
  mustHave("phases", piece.phases, 1);
  mustHave("batches", piece.batches, 1);
  mustHave("experts", piece.experts, layers * k);
  mustHave("weights", piece.weights, columns.weights ? layers * k : 0);
  mustHave("probs", piece.probs, columns.probs ? layers * model.experts : 0);
  mustHave("hidden", piece.hidden, layers * columns.hiddenWidth);
  mustHave("tokens", piece.tokens, columns.tokens ? 1 : 0);
  mustHave("predicted", piece.predicted, columns.predictions ? 1 : 0);
  mustHave("loss", piece.loss, columns.predictions ? 1 : 0);

  const end = facts.position + piece.length;
  if (end > recording.sampleLength)
    throw wrong({}, `has ${end} tokens; the description allows ${recording.sampleLength}.`);
  const tokenAt = (i: number): TracePlace => ({ position: facts.position + i });
  const descent = firstDescent(piece.batches, facts.batch);
  if (descent >= 0) throw wrong(tokenAt(descent), `batch ${piece.batches[descent]} comes after a later one.`);
  const phase = piece.phases.findIndex((value) => value > DECODE);
  if (phase >= 0) throw wrong(tokenAt(phase), `phase ${piece.phases[phase]} is neither prefill nor decode.`);
  const token = piece.tokens?.findIndex((id) => id < 0) ?? -1;
  if (token >= 0) throw wrong(tokenAt(token), `token ${piece.tokens?.[token]} is not a token.`);
  const loss = piece.loss?.findIndex((value) => Math.abs(value) === Number.POSITIVE_INFINITY) ?? -1;
  if (loss >= 0) throw wrong(tokenAt(loss), "the loss is infinite.");

  const { fault, ragged } = checkExpertRows(piece.experts, k, model.experts);
  if (fault !== undefined) {
    const sentences = {
      "expert-range": () => `expert ${"expert" in fault ? fault.expert : ""} is not one of ${model.experts}.`,
      "duplicate-expert": () => `expert ${"expert" in fault ? fault.expert : ""} is there twice.`,
      hole: () => "an expert follows a free place.",
    };
    throw wrong(atRow(fault.row), sentences[fault.fault]());
  }
  const lists = [
    { name: "weights", values: piece.weights, width: k },
    { name: "probs", values: piece.probs, width: model.experts },
    { name: "hidden", values: piece.hidden, width: columns.hiddenWidth },
  ] as const;
  for (const { name, values, width } of lists) {
    if (values === undefined) continue;
    // Beside a free place anything may stand; so the fast check first, and only what it finds is looked at.
    let at = firstNotFinite(values);
    if (ragged && at >= 0)
      at = values.findIndex(
        (value, i) => i >= at && !Number.isFinite(value) && !isFree(piece.experts, k, i, width, name === "weights"),
      );
    if (at >= 0) throw wrong(atRow(Math.floor(at / width)), `"${name}" has ${values[at]}.`);
  }
  return { ragged };
}

/** Whether the number at `at` belongs to no expert (weights) or to a row without any (probabilities, router inputs). */
function isFree(experts: Uint16Array, k: number, at: number, width: number, perExpert: boolean): boolean {
  return experts[perExpert ? at : Math.floor(at / width) * k] === NO_ID;
}
