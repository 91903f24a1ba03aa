/** A locality report for a terminal: the verdict first, then tables. Everything here is in the JSON document too. */
import type { CacheSeries, LocalityReport, PhaseReport, PublishedRow } from "../locality/report-data.ts";
import { alignColumns, formatBytes, formatShare } from "./format.ts";

export function localityText(report: LocalityReport): string {
  return [
    ...modelLines(report),
    ...report.phases.flatMap((phase) => ["", ...phaseLines(report, phase)]),
    "",
    ...publishedLines(report),
    "",
    ...report.notes.map((note) => `note: ${note}`),
  ].join("\n");
}

function modelLines({ model, recording }: LocalityReport): string[] {
  const { name, moeBlocks, experts, expertsUsed, sharedExperts } = model;
  const shared = sharedExperts === null || sharedExperts === 0 ? "" : `, ${sharedExperts} shared (not counted)`;
  return [
    `${name}: ${moeBlocks.length} MoE layers of ${experts} experts, ${expertsUsed} used by a token${shared}`,
    `recorded by ${recording.recorder}, ${recording.date.slice(0, 10)}; text was ${recording.tokensFrom.join(" and ")}`,
  ];
}

function phaseLines(report: LocalityReport, phase: PhaseReport): string[] {
  const { samples, tokens, shortest, longest, byDomain } = phase.samples;
  const length = shortest === longest ? `${longest}` : `${shortest} to ${longest}`;
  const which = phase.phase === "all" ? "All tokens" : phase.phase === "prefill" ? "Prefill" : "Decode";
  const domains = byDomain.length === 1 ? "one domain" : `${byDomain.length} domains`;
  return [
    `${which}: ${count(tokens)} tokens in ${count(samples)} ${samples === 1 ? "sample" : "samples"} of T = ${length}, ${domains}, ${report.settings.convention}`,
    "",
    phase.verdict.headline,
    ...phase.verdict.sentences.map((sentence) => `- ${sentence}`),
    "",
    ...cacheLines(report, phase),
    "",
    ...segmentLines(phase),
    "",
    ...layerLines(report, phase),
    ...domainLines(report, phase),
  ];
}

function cacheLines({ settings }: LocalityReport, { chr, sch, samples }: PhaseReport): string[] {
  const series = [...chr, ...sch];
  const sampled = samples.cacheSampleEvery > 1 ? `, from ${count(samples.cacheSamples)} samples` : "";
  const points = series[0]?.model ?? [];
  return [
    `Hit rates of one cache for all layers${sampled}:`,
    alignColumns([
      ["ratio", "experts", "size", ...series.map(seriesName)],
      ...points.map(({ cacheRatio, cacheExperts, cacheBytes }, i) => [
        `${cacheRatio}${cacheRatio === settings.headlineRatio ? " *" : ""}`,
        String(cacheExperts),
        cacheBytes === null ? "-" : formatBytes(cacheBytes),
        ...series.map(({ model }) => formatShare(model[i].hitRate)),
      ]),
    ]),
  ];
}

function seriesName({ policy, segmentLength }: CacheSeries): string {
  if (policy === "belady") return "Belady";
  return segmentLength === null ? policy.toUpperCase() : `SCH(${segmentLength})`;
}

function segmentLines({ srp }: PhaseReport): string[] {
  return [
    "Consistency over segments of m tokens (srpIid and gain are ours):",
    alignColumns([
      ["m", "SRP", "95 % interval", "alpha", "ideal ratio", "srpIid", "gain"],
      ...srp.map(({ segmentLength, model }) =>
        model === null
          ? [String(segmentLength), "no sample is that long"]
          : [
              String(segmentLength),
              formatShare(model.srp),
              model.interval === null ? "-" : `${formatShare(model.interval[0])} to ${formatShare(model.interval[1])}`,
              String(model.threshold),
              model.idealCacheRatio.toFixed(2),
              formatShare(model.srpIid),
              model.srpGain.toFixed(3),
            ],
      ),
    ]),
  ];
}

function layerLines({ model, settings }: LocalityReport, phase: PhaseReport): string[] {
  const segment = phase.srp.find(({ segmentLength }) => segmentLength === settings.headlineSegment);
  const size = Math.min(model.experts, Math.max(1, Math.floor(settings.headlineRatio * model.expertsUsed)));
  const rate = (policy: string, layer: number) =>
    phase.chr.find((series) => series.policy === policy)?.layers[layer]?.[size - 1];
  const { layerOverlap } = phase.reuse;
  return [
    `By layer (SRP at m = ${settings.headlineSegment}; a cache of ${size} experts in each layer):`,
    alignColumns([
      ["block", "SRP", "gain", "LRU", "Belady", "overlap", "load SD"],
      ...model.moeBlocks.map((block, layer) => [
        String(block),
        share(segment?.layers[layer]?.srp),
        segment?.layers[layer]?.srpGain.toFixed(3) ?? "-",
        share(rate("lru", layer)),
        share(rate("belady", layer)),
        share(layerOverlap[layer]),
        share(phase.load.layerSd[layer]),
      ]),
    ]),
  ];
}

function domainLines({ settings }: LocalityReport, phase: PhaseReport): string[] {
  const { byDomain } = phase.samples;
  if (byDomain.length < 2) return [];
  const segment = phase.srp.find(({ segmentLength }) => segmentLength === settings.headlineSegment);
  const lru = phase.chr.find(({ policy }) => policy === "lru");
  const ratio = settings.cacheRatios.indexOf(settings.headlineRatio);
  return [
    "",
    `By domain (SRP at m = ${settings.headlineSegment}; LRU over all layers at ratio ${settings.headlineRatio}):`,
    alignColumns([
      ["domain", "samples", "SRP", "to all", "gain", "LRU", "overlap"],
      ...byDomain.map(({ domain, samples }, d) => {
        const score = segment?.domains[d];
        return [
          domain,
          count(samples),
          share(score?.model.srp),
          score == null ? "-" : `${score.relative < 0 ? "" : "+"}${formatShare(score.relative)}`,
          score?.model.srpGain.toFixed(3) ?? "-",
          share(lru?.domains[d]?.model[ratio]),
          share(phase.reuse.domainOverlap[d]),
        ];
      }),
    ]),
  ];
}

/** Those of the same k/E; without any, the three with the nearest. */
function publishedLines({ published }: LocalityReport): string[] {
  const same = published.filter(({ sameShare }) => sameShare);
  const rows = same.length > 0 ? same : published.slice(0, 3);
  return [
    `Published models with ${same.length > 0 ? "the same k/E" : "the nearest k/E"} (m = 16; ratio 2, token/free, T = 512):`,
    alignColumns([
      ["model", "k/E", "SRP", "gain", "LRU", "SCH(16)", "Belady"],
      ...rows.map((row) => [
        row.name,
        `${row.expertsUsed}/${row.experts}`,
        share(at16(row)?.srp),
        at16(row)?.srpGain.toFixed(2) ?? "-",
        share(rateAt2(row.chr.find(({ policy }) => policy === "lru"))),
        share(rateAt2(row.sch.find(({ segmentLength }) => segmentLength === 16))),
        share(rateAt2(row.chr.find(({ policy }) => policy === "belady"))),
      ]),
    ]),
  ];
}

function at16({ srp }: PublishedRow) {
  return srp.find(({ segmentLength }) => segmentLength === 16);
}

function rateAt2(series: { readonly points: PublishedRow["chr"][number]["points"] } | undefined): number | undefined {
  return series?.points.find(({ cacheRatio }) => cacheRatio === 2)?.hitRate;
}

function share(value: number | null | undefined): string {
  return value === null || value === undefined ? "-" : formatShare(value);
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
