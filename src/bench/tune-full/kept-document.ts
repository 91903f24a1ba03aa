/**
 * What is kept of the document that `tune --json` prints: all but its long lists (hit rates of every cache, reuse at every
 * distance), with numbers of five digits and files without folders. Of the caches the one that the deployment has stays. Pure.
 */
import path from "node:path";
import type { tuningDocument } from "../../cli/tuning-text.ts";
import type { CacheFigure } from "../../tune/eval/figures.ts";
import { deploymentCell } from "../../tune/eval/ship-gates.ts";

export type TuningDocument = ReturnType<typeof tuningDocument>;

const DIGITS = 5;

export function keptDocument(document: TuningDocument): unknown {
  const experts = document.evaluation?.deploymentExperts ?? 0;
  const kept = (key: string, value: unknown): unknown => {
    if (key === "reuseAtLag") return undefined;
    if (key === "caches") return [deploymentCell(value as readonly CacheFigure[], experts)];
    if (typeof value === "string" && path.isAbsolute(value)) return path.basename(value);
    return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value;
  };
  return JSON.parse(JSON.stringify(document, kept));
}
