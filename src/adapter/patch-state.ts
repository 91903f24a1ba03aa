/**
 * How far a patch of a model's gates has come, by looking at the gates: every write that was cut short leaves a mixture of old
 * and new values, and anything else is not ours to touch. Pure; `patch-model.ts` reads and writes.
 */
import type { GateValues } from "./router-artifact.ts";

/**
 * - `old`, `new`: one or the other in all layers.
 * - `between`: nothing but old and new values, of both.
 * - `foreign`: something else.
 */
export type PatchState = "old" | "new" | "between" | "foreign";

/** @param before, after the same layers as `found`, in the same order */
export function patchState(
  found: readonly GateValues[],
  before: readonly GateValues[],
  after: readonly GateValues[],
): PatchState {
  let [isOld, isNew] = [true, true];
  for (const [i, gate] of found.entries()) {
    const [now, old, next] = [bytesOf(gate), bytesOf(before[i]), bytesOf(after[i])];
    for (let part = 0; part < now.length; part++)
      for (let at = 0; at < now[part].length; at++) {
        const byte = now[part][at];
        if (byte === old[part][at] && byte === next[part][at]) continue;
        if (byte === old[part][at]) isNew = false;
        else if (byte === next[part][at]) isOld = false;
        else return "foreign";
      }
  }
  if (isOld) return "old";
  return isNew ? "new" : "between";
}

export function sameGates(a: readonly GateValues[], b: readonly GateValues[]): boolean {
  return a.length === b.length && a.every(({ block }, i) => block === b[i].block) && patchState(a, b, b) === "old";
}

/** Bytes, because a write may end anywhere, and equal floats need not be equal bytes. */
function bytesOf({ weights, bias }: GateValues): Uint8Array[] {
  return [weights, bias ?? new Float32Array(0)].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
}
