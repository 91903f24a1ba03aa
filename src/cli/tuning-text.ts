/** What a tuning run brought, as text and as the JSON document that other programs read. */
import type { DriftFigures, LocalityFigures } from "../tune/eval/figures.ts";
import { deploymentCell } from "../tune/eval/ship-gates.ts";
import type { TuningJob, TuningSummary } from "../tune/run/tuning-job.ts";
import { alignColumns, formatBytes, formatMs, formatShare } from "./format.ts";

export function tuningDocument(summary: TuningSummary, job: TuningJob) {
  const { evaluation, ...rest } = summary;
  const base = evaluation?.variants[0];
  const tuned = evaluation?.variants.find(({ kind, scale }) => kind === "tuned" && scale === 1);
  const { engine: _, ...config } = job;
  return {
    ...rest,
    peakRssBytes: summary.peakRssBytes ?? null,
    before: base === undefined ? null : sideDocument(base.forced, base.drift, base.generated),
    after:
      tuned === undefined
        ? null
        : {
            ...sideDocument(tuned.forced, tuned.drift, tuned.generated),
            ...{ meanKl: tuned.drift.meanKl.value, p99Kl: tuned.drift.p99Kl },
            top1Agreement: tuned.drift.topAgreement.value,
          },
    evaluation,
    config: { ...config, memory: job.engine.memory, policy: job.engine.policy },
  };
}

/** Bytes and time come from `tune eval --live`: here nothing is read from a drive that would count. */
function sideDocument(forced: LocalityFigures, drift: DriftFigures, generated: LocalityFigures | null) {
  const lru = forced.caches.filter(
    ({ scope, policy, accounting }) => scope === "layer" && policy === "lru" && accounting === "set",
  );
  return {
    eor: forced.eor.value,
    generatedEor: generated?.eor.value ?? null,
    lruHitRate: Object.fromEntries(lru.map((cell) => [cell.expertsPerLayer, cell.hitRate.value])),
    perplexity: drift.perplexity.value,
    bytesPerToken: null,
    tpotMs: null,
  };
}

export function summaryText(summary: TuningSummary, { method, out }: TuningJob): string {
  const { documents, heldOutDocuments, tokens, layersTuned, layers, evaluation, recommendedScale, seconds } = summary;
  const moved =
    layers.length === 0 ? "" : `, trust KL ${mean(layers.map(({ trustKl }) => trustKl)).toFixed(4)} a layer`;
  const rows = [
    ["method", summary.method],
    [
      "text",
      `${documents} documents, ${tokens.toLocaleString("en-US")} tokens, ${heldOutDocuments} documents held out`,
    ],
    ["routers", `${layersTuned} layers${moved}`],
    ...(method === "full" && summary.skippedSteps > 0
      ? [["skipped", `${summary.skippedSteps} of ${summary.steps} steps, whose gradient was no number`]]
      : []),
    ["time", formatMs(1000 * seconds)],
    ...(summary.peakRssBytes === undefined ? [] : [["memory", `${formatBytes(summary.peakRssBytes)} at most`]]),
  ];
  if (evaluation === null) return `${out}\n${alignColumns(rows)}`;
  const { deploymentExperts, variants } = evaluation;
  const hit = (figures: LocalityFigures | null) =>
    figures === null
      ? "–"
      : formatShare(deploymentCell(figures.caches, deploymentExperts)?.hitRate.value ?? Number.NaN);
  const table = [
    ["", "overlap", "of generated", `LRU hit, ${deploymentExperts} a layer`, "perplexity", "KL", "same top"],
    ...variants.map(({ name, forced, generated, drift }) => [
      ...[name, formatShare(forced.eor.value), generated === null ? "–" : formatShare(generated.eor.value)],
      ...[hit(forced), `${drift.perplexity.value.toFixed(2)}${changeText(drift)}`],
      ...[drift.meanKl.value.toFixed(4), formatShare(drift.topAgreement.value)],
    ]),
  ];
  const advice =
    recommendedScale === null
      ? "At no scale does it stay within perplexity +1 % and a KL of 0.02: tune with a smaller --budget."
      : `Within perplexity +1 % and a KL of 0.02: scale ${recommendedScale} (--router ${out} --router-scale ${recommendedScale}).`;
  return `${out}\n${alignColumns(rows)}\n\nOn documents held out:\n${alignColumns(table)}\n\n${advice}`;
}

function changeText({ perplexityChange: { value } }: DriftFigures): string {
  return value === 0 ? "" : ` (${value < 0 ? "−" : "+"}${(100 * Math.abs(value)).toFixed(2)} %)`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
