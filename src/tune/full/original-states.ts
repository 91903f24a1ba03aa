/**
 * What the original model made of each training sequence, kept from the first pass over the data on: its last layer's output,
 * from which distillation takes the predictions to stay near. In memory that all threads share; it computes nothing.
 */
import type { TrainingSequence } from "./sequence.ts";

/** Plain data on shared memory: it goes to threads. */
export interface OriginalStatesData {
  readonly hidden: number;
  /** Where each sequence's rows start, `[sequences + 1]`, in tokens; those that start behind the memory's end are not kept. */
  readonly starts: Int32Array;
  /** `[tokens][hidden]` */
  readonly states: Float32Array;
  /** 1 for a sequence that is there. Each is put by the one thread that has it in a step. */
  readonly known: Uint8Array;
}

/** @param sequences of one pass, in their places @param bytes at most */
export function originalStatesData(
  sequences: readonly TrainingSequence[],
  hidden: number,
  bytes: number,
): OriginalStatesData {
  const starts = new Int32Array(new SharedArrayBuffer(4 * (sequences.length + 1)));
  for (const [place, { tokens }] of sequences.entries()) starts[place + 1] = starts[place] + tokens.length;
  let kept = 0;
  while (kept < sequences.length && starts[kept + 1] * hidden * 4 <= bytes) kept++;
  return {
    ...{ hidden, starts },
    states: new Float32Array(new SharedArrayBuffer(starts[kept] * hidden * 4)),
    known: new Uint8Array(new SharedArrayBuffer(sequences.length)),
  };
}

export class OriginalStates {
  readonly #data: OriginalStatesData;

  constructor(data: OriginalStatesData) {
    this.#data = data;
  }

  /** Whether there is room for a sequence. @param place in the pass */
  holds(place: number): boolean {
    const { states, starts, hidden } = this.#data;
    return starts[place + 1] * hidden <= states.length;
  }

  /** Copies a sequence's rows, `[tokens][hidden]`. False where they are not known. @param place in the pass */
  read(place: number, rows: Float32Array): boolean {
    const { known, states, starts, hidden } = this.#data;
    if (known[place] === 0) return false;
    rows.set(states.subarray(starts[place] * hidden, starts[place + 1] * hidden));
    return true;
  }

  /** Keeps the rows of a sequence that there is room for. */
  keep(place: number, rows: Float32Array): void {
    const { known, states, starts, hidden } = this.#data;
    states.set(rows, starts[place] * hidden);
    known[place] = 1;
  }
}
