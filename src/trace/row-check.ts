/**
 * Checks of routing rows that writer and reader share: one pass over ids and numbers in loops that do nothing else, because
 * traces have them by the hundred million. They find where something is wrong; who calls makes the error.
 */
import { NO_ID } from "./trace.ts";

export type RowFault =
  | { readonly fault: "expert-range"; readonly row: number; readonly expert: number }
  | { readonly fault: "duplicate-expert"; readonly row: number; readonly expert: number }
  /** An expert behind a free place: only the end of a row may be free. */
  | { readonly fault: "hole"; readonly row: number };

export interface ExpertRows {
  readonly fault: RowFault | undefined;
  /** Some row has fewer than k experts. */
  readonly ragged: boolean;
}

/** Rows of `k` ids each below `experts`, or NO_ID at the end of a row. */
export function checkExpertRows(ids: Uint16Array, k: number, experts: number): ExpertRows {
  // The last row in which an expert was seen, from 1 on: no clearing between rows. NO_ID has a place of its own.
  const seenIn = new Uint32Array(experts);
  let ragged = false;
  const rows = ids.length / k;
  for (let row = 0, i = 0; row < rows; row++) {
    const end = i + k;
    for (; i < end; i++) {
      const id = ids[i];
      if (id >= experts) {
        const fault = freeFrom(ids, i, end, row);
        if (fault !== undefined) return { fault, ragged };
        ragged = true;
        i = end;
        break;
      }
      if (seenIn[id] === row + 1) return { fault: { fault: "duplicate-expert", row, expert: id }, ragged };
      seenIn[id] = row + 1;
    }
  }
  return { fault: undefined, ragged };
}

/** `ids[i]` is no expert: fine if it and all behind it in the row are NO_ID. */
function freeFrom(ids: Uint16Array, i: number, end: number, row: number): RowFault | undefined {
  if (ids[i] !== NO_ID) return { fault: "expert-range", row, expert: ids[i] };
  for (let j = i + 1; j < end; j++) if (ids[j] !== NO_ID) return { fault: "hole", row };
  return undefined;
}

/** Index of the first number that is NaN or infinite, or -1. */
export function firstNotFinite(values: Float32Array): number {
  // 0 * x is 0 for every finite x and NaN for all others; four sums, because one would wait for itself.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < values.length; i += 4) {
    a += 0 * values[i];
    b += 0 * values[i + 1];
    c += 0 * values[i + 2];
    d += 0 * values[i + 3];
  }
  for (; i < values.length; i++) a += 0 * values[i];
  if (a + b + c + d === 0) return -1;
  return values.findIndex((value) => !Number.isFinite(value));
}

/** Index of the first value that is smaller than the one before it (or than `floor`), or -1. */
export function firstDescent(values: Uint32Array, floor = 0): number {
  let before = floor;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value < before) return i;
    before = value;
  }
  return -1;
}
