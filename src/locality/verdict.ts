/**
 * What the figures mean for whoever wants to keep only some experts in memory, in plain words: does the model suit it, how
 * large should the cache be, what could a better policy still gain. The thresholds are ours, set by the published models.
 */
import { formatBytes, formatShare } from "../number-text.ts";
import { FEWEST_SAMPLES } from "./bootstrap.ts";
import type {
  CacheSeries,
  Knee,
  PhaseReport,
  PublishedRow,
  ReportedModel,
  ReportedSettings,
  Verdict,
} from "./report-data.ts";

/**
 * Share of the look-ups that a cache filled by chance would miss and LRU hits, at twice the active experts. The paper's
 * group 1 has 0.47 and more, groups 2 and 3 -0.05 to 0.29, group 4 0.06 to 0.20.
 */
const SUITS_WELL = 0.4;
const SUITS_PARTLY = 0.2;

/**
 * Share of uses that are an expert's first in its sample from which on too little was measured: caches are being filled, and
 * how they would do afterwards was not seen. Recorded texts of 512 tokens have 0.02 of 32 experts, answers of 128 tokens
 * 0.09 of 128 experts; an answer of 64 and prompts of 28 to 85 tokens have 0.28 to 0.34, and one of these seemed to suit
 * offloading well though its gain over a router without memory was -0.02.
 */
const FILLING = 0.15;
/** Of all samples together; fewer are one sentence. */
const FEWEST_TOKENS = 64;

export interface VerdictInput {
  readonly model: ReportedModel;
  readonly settings: ReportedSettings;
  readonly phase: Omit<PhaseReport, "verdict">;
  readonly published: readonly PublishedRow[];
}

export function judge(input: VerdictInput): Verdict {
  const { model, settings, phase } = input;
  const lru = curveOf(phase.chr, "lru");
  const knee = kneeAt(input, kneeSize(lru, model.experts));
  const twice = kneeAt(input, Math.min(2 * model.expertsUsed, Math.max(1, Math.floor(model.experts / 2))));
  const nearestPublished = nearestRows(input);
  const isTooLittle = firstUseShare(phase) > FILLING || phase.samples.tokens < FEWEST_TOKENS;
  const suits = isTooLittle ? "unknown" : suitability(twice);
  return {
    suits,
    headline: isTooLittle && twice.chance < 1 ? tooLittle(input) : headline(suits, twice, knee, model),
    sentences: [
      ...policySentences(twice, settings.headlineSegment),
      ...consistencySentences(input),
      ...publishedSentences(nearestPublished, input),
      ...specialisationSentences(phase),
      ...limitSentences(input),
    ],
    knee,
    nearestPublished: nearestPublished.map(({ key }) => key),
  };
}

/** The C at which LRU is farthest above what experts held by chance would hit, C / E. */
export function kneeSize(lru: readonly number[], experts: number): number {
  let best = 1;
  for (let size = 2; size <= lru.length; size++)
    if (lru[size - 1] - size / experts > lru[best - 1] - best / experts) best = size;
  return best;
}

function kneeAt({ model, settings, phase }: VerdictInput, size: number): Knee {
  const at = (curve: readonly number[] | undefined) => curve?.[size - 1] ?? null;
  const layerBytes = model.expertBytes.reduce((sum, bytes) => sum + bytes, 0);
  const sch = phase.sch.find(({ segmentLength }) => segmentLength === settings.headlineSegment);
  return {
    cacheExperts: size,
    cacheRatio: size / model.expertsUsed,
    share: size / model.experts,
    cacheBytes: layerBytes > 0 ? size * layerBytes : null,
    lru: at(curveOf(phase.chr, "lru")) ?? 0,
    belady: at(curveOf(phase.chr, "belady")) ?? 0,
    sch: at(sch?.layerMean),
    chance: size / model.experts,
  };
}

function curveOf(series: readonly CacheSeries[], policy: string): readonly number[] {
  return series.find((one) => one.policy === policy)?.layerMean ?? [];
}

export function suitability({ lru, chance }: Pick<Knee, "lru" | "chance">): Verdict["suits"] {
  if (chance >= 1) return "unknown";
  const gain = (lru - chance) / (1 - chance);
  return gain >= SUITS_WELL ? "well" : gain >= SUITS_PARTLY ? "partly" : "poorly";
}

const SUITS_TEXT = {
  well: "suits expert offloading well",
  partly: "suits expert offloading in part",
  poorly: "suits expert offloading poorly",
  unknown: "uses all of its experts at once, so there is nothing to offload",
} as const;

function headline(suits: Verdict["suits"], twice: Knee, knee: Knee, model: ReportedModel): string {
  if (suits === "unknown") return `${model.name} ${SUITS_TEXT.unknown}.`;
  const more =
    knee.cacheExperts > twice.cacheExperts
      ? `memory pays off up to ${sizeText(knee)}, ${formatShare(knee.lru)} hits`
      : knee.cacheExperts < twice.cacheExperts
        ? `memory pays best up to ${sizeText(knee)}, ${formatShare(knee.lru)} hits`
        : "that is also where memory pays best";
  return (
    `${model.name} ${SUITS_TEXT[suits]}: with ${sizeText(twice)} of ${model.experts} in memory LRU hits ` +
    `${formatShare(twice.lru)}, chance ${formatShare(twice.chance)}; ${more}.`
  );
}

function tooLittle({ model, phase }: VerdictInput): string {
  const { tokens, longest } = phase.samples;
  const lengths = tokens === longest ? `${tokens} tokens` : `${tokens} tokens in samples of ${longest} at most`;
  return (
    `Too little was measured to say whether ${model.name} suits expert offloading: ${lengths}, and ` +
    `${formatShare(firstUseShare(phase))} of the expert uses are the first of their sample. Record longer samples.`
  );
}

/** Uses of an expert that its sample had not used before. */
function firstUseShare({ samples, reuse }: Omit<PhaseReport, "verdict">): number {
  return samples.activations === 0 ? 0 : reuse.firstUses / samples.activations;
}

function sizeText({ cacheExperts, cacheBytes }: Knee): string {
  const bytes = cacheBytes === null ? "" : ` (${formatBytes(cacheBytes)})`;
  return `${cacheExperts} experts per layer${bytes}`;
}

function policySentences({ cacheExperts, lru, belady, sch, chance }: Knee, segmentLength: number): string[] {
  if (chance >= 1) return [];
  const limit = "no policy that reads on demand can gain much more than that";
  const seen =
    sch === null ? "" : `a cache that sees ${segmentLength} tokens ahead (SCH) hits ${points(sch - lru)} more, `;
  return [
    `With ${cacheExperts} experts per layer ${seen}Belady's, which knows the future, ${points(belady - lru)} more than LRU: ${limit}.`,
  ];
}

function consistencySentences({ settings, phase }: VerdictInput): string[] {
  const segment = phase.srp.find(({ segmentLength }) => segmentLength === settings.headlineSegment);
  if (segment === undefined || segment.model === null)
    return [`No sample has ${settings.headlineSegment} tokens, so there is no SRP.`];
  const { srp, srpIid, srpGain, idealCacheRatio } = segment.model;
  const sorted = segment.layers.map(({ srp: value }, layer) => ({ layer, value })).sort((a, b) => b.value - a.value);
  const best = sorted[0];
  const worst = sorted[sorted.length - 1];
  const spread =
    sorted.length < 2
      ? ""
      : ` Most consistent is MoE layer ${best.layer} (${formatShare(best.value)}), least layer ${worst.layer} (${formatShare(worst.value)}).`;
  return [
    `Over ${settings.headlineSegment} tokens the best fixed group of experts scores ${formatShare(srp)} (SRP) and holds ` +
      `${idealCacheRatio.toFixed(2)} times the active ones; a router without memory but with the same load would score ` +
      `${formatShare(srpIid)}, so the gain over it is ${srpGain.toFixed(2)} (our measure).${spread}`,
  ];
}

/** Of the same k/E, those nearest in SRP. */
function nearestRows({ settings, phase, published }: VerdictInput): PublishedRow[] {
  const own = phase.srp.find(({ segmentLength }) => segmentLength === settings.headlineSegment)?.model?.srp;
  if (own === undefined) return [];
  const srpOf = (row: PublishedRow) => publishedSrp(row, settings.headlineSegment);
  return published
    .filter((row) => row.sameShare && srpOf(row) !== undefined)
    .sort((a, b) => Math.abs((srpOf(a) ?? 0) - own) - Math.abs((srpOf(b) ?? 0) - own))
    .slice(0, 3);
}

function publishedSrp({ srp }: PublishedRow, length: number): number | undefined {
  return srp.find(({ segmentLength }) => segmentLength === length)?.srp;
}

function publishedSentences(
  rows: readonly PublishedRow[],
  { settings, phase, model, published }: VerdictInput,
): string[] {
  const { headlineSegment, headlineRatio, convention } = settings;
  const named = (row: PublishedRow) => `${row.name} (${formatShare(publishedSrp(row, headlineSegment) ?? 0)})`;
  if (rows.length === 0) {
    const others = published.slice(0, 2).map((row) => `${row.name} (${row.expertsUsed} of ${row.experts})`);
    return [
      `No published model uses the same share of its experts (${model.expertsUsed} of ${model.experts}); nearest are ${others.join(" and ")}.`,
    ];
  }
  const sentences = [
    `Of the published models that use the same share of their experts, nearest in SRP: ${rows.map(named).join(", ")}.`,
  ];
  const theirs = rateAt(rows[0].chr.find(({ policy }) => policy === "lru")?.points, headlineRatio);
  const ours = rateAt(phase.chr.find(({ policy }) => policy === "lru")?.model, headlineRatio);
  if (convention === "token/free" && theirs !== undefined && ours !== undefined)
    sentences.push(
      `One LRU cache for all layers at ratio ${headlineRatio} hits ${formatShare(ours)} here and ${formatShare(theirs)} with ${rows[0].name}.`,
    );
  return sentences;
}

function rateAt(
  points: readonly { readonly cacheRatio: number; readonly hitRate: number }[] | undefined,
  ratio: number,
): number | undefined {
  return points?.find(({ cacheRatio }) => cacheRatio === ratio)?.hitRate;
}

function specialisationSentences({ domains, correlations }: Omit<PhaseReport, "verdict">): string[] {
  const { specialisation, names } = domains;
  if (specialisation === null) return [];
  const { srpDomainCv } = correlations;
  const related =
    srpDomainCv === null
      ? ""
      : `; consistent experts are ${srpDomainCv > 0.3 ? "the specialised ones" : srpDomainCv < -0.3 ? "the general ones" : "neither the specialised nor the general ones"} (r = ${srpDomainCv.toFixed(2)})`;
  return [
    `An expert's use varies over the ${names.length} domains by ${specialisation.toFixed(2)} of its mean (CV)${related}.`,
  ];
}

function limitSentences({ settings, phase }: VerdictInput): string[] {
  const { shortest, longest, samples } = phase.samples;
  const lengths = shortest === longest ? `${longest} tokens` : `${shortest} to ${longest} tokens`;
  return [
    ...(samples < FEWEST_SAMPLES
      ? [
          `With ${samples === 1 ? "one sample" : `${samples} samples`} only, experts' rates are those of these texts: srpIid is too high and the gain too low, and there are no intervals.`,
        ]
      : []),
    `Measured on ${samples} ${samples === 1 ? "sample" : "samples"} of ${lengths}, convention ${settings.convention}` +
      `${settings.convention === "token/free" ? `: first uses (${formatShare(firstUseShare(phase))} of all) hit while there is room, so shorter samples look better` : ""}.`,
    "Locality alone does not predict speed: in the paper's own runtime LRU hit rates and overhead correlate by -0.30 to 0.39 only.",
  ];
}

function points(difference: number): string {
  return `${(100 * difference).toFixed(1)} points`;
}
