/** An evaluation of tuned routers as tables for a terminal. */
import type { EvaluationResult, VariantFigures } from "../tune/eval/evaluation.ts";
import type { Measured } from "../tune/eval/measured.ts";
import { deploymentCell } from "../tune/eval/ship-gates.ts";
import { alignColumns, formatBytes, formatShare } from "./format.ts";

export function evaluationText(result: EvaluationResult): string {
  const { model, documents, variants, deploymentExperts, generate, live } = result;
  const facts = `${model.name}: ${documents.count} documents, ${documents.tokens.toLocaleString("en-US")} tokens (${documents.domains.join(", ")})`;
  const parts = [
    facts,
    alignColumns([HEADINGS(deploymentExperts, generate !== null), ...variants.map((own) => row(own, result))]),
  ];
  if (live !== null)
    parts.push(
      `On the engine (${live.modelFile}, ${formatShare(live.cacheShare)} of the experts in memory, ${live.runs} runs):\n${alignColumns(liveRows(variants))}`,
    );
  for (const { name, gates } of variants.filter((variant) => variant.gates.length > 0))
    parts.push(
      `${name}:\n${alignColumns(gates.map((gate) => [{ true: "pass", false: "FAIL", null: "open" }[String(gate.passed) as "true"], gate.name, gate.found, gate.limit]))}`,
    );
  return parts.join("\n\n");
}

const HEADINGS = (experts: number, generated: boolean): string[] => [
  ...["", "overlap", ...(generated ? ["of generated"] : []), `LRU hit at ${experts}`, "misses/token"],
  ...["perplexity", "mean KL", "99 % KL", "same top", "mass kept", "load CV"],
];

function row(own: VariantFigures, { deploymentExperts, generate }: EvaluationResult): string[] {
  const { name, forced, generated, drift } = own;
  const cell = deploymentCell(forced.caches, deploymentExperts);
  return [
    ...[name, withChange(forced.eor, forced.eorChange)],
    ...(generate === null || generated === null ? [] : [withChange(generated.eor, generated.eorChange)]),
    ...[cell === undefined ? "–" : formatShare(cell.hitRate.value), cell?.missesPerToken.value.toFixed(2) ?? "–"],
    `${drift.perplexity.value.toFixed(2)}${changeText(own.kind === "base" ? null : drift.perplexityChange)}`,
    ...[drift.meanKl.value.toFixed(4), drift.p99Kl.toFixed(3), formatShare(drift.topAgreement.value)],
    ...[drift.keptMass === null || own.kind === "base" ? "–" : formatShare(drift.keptMass.value)],
    forced.loadCv.toFixed(2),
  ];
}

function liveRows(variants: readonly VariantFigures[]): string[][] {
  return [
    ["", "ms a token", "of runs", "read a token", "hit rate", "waiting"],
    ...variants.flatMap(({ name, live }) =>
      live === null
        ? []
        : [
            [
              ...[name, live.tpotMs.toFixed(1), live.tpotRangeMs.map((ms) => ms.toFixed(1)).join(" to ")],
              ...[formatBytes(live.bytesPerToken), formatShare(live.hitRate), `${live.stallMsPerToken.toFixed(1)} ms`],
            ],
          ],
    ),
  ];
}

function withChange({ value }: Measured, change: Measured | null): string {
  return `${formatShare(value)}${changeText(change)}`;
}

function changeText(change: Measured | null): string {
  if (change === null) return "";
  const { value } = change;
  return ` (${value < 0 ? "−" : "+"}${(100 * Math.abs(value)).toFixed(1)} %)`;
}
