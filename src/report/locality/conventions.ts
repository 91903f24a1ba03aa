/** The last section: how the figures came about, and what they do not say. */
import type { LocalityReport } from "../../locality/report-data.ts";
import { html, type Markup } from "../markup.ts";
import { countText } from "../number-text.ts";
import { cacheSamplesText, confidenceText, phaseText, tokensText } from "./subject.ts";

export function conventions(report: LocalityReport): Markup {
  const { settings, recording, model, phases } = report;
  const lengths = phases.map(({ samples }) =>
    samples.shortest === samples.longest ? `${samples.longest}` : `${samples.shortest} to ${samples.longest}`,
  );
  const facts: (readonly [string, string])[] = [
    [
      "Tokens",
      `${[...new Set(phases.map((phase) => tokensText({ report, phase })))].join(", ")}; T = ${[...new Set(lengths)].join(", ")} tokens a sample (longer ones are cut at ${settings.sampleLength})${recording.start === null ? "" : `; start of a sample: ${recording.start}`}`,
    ],
    ["Phases", phases.map(phaseText).join("; ")],
    [
      "Samples",
      phases
        .map(
          ({ phase, samples }) =>
            `${phases.length > 1 ? `${phase}: ` : ""}${countText(samples.samples)} samples, ${countText(samples.tokens)} tokens, ${countText(samples.activations)} expert uses`,
        )
        .join("; "),
    ],
    ["Caches", conventionText(report)],
    [
      "One cache for all layers",
      phases
        .map((phase) => `simulated on ${cacheSamplesText(phase)}, ${countText(phase.samples.cacheTokens)} tokens`)
        .join("; "),
    ],
    [
      "Intervals",
      !phases.some(({ srp }) => srp.some(({ model }) => model?.interval))
        ? "none"
        : `${confidenceText(report)}s by the bootstrap over samples, ${countText(settings.bootstrapReplicas)} replicas: they tell how far another draw of the same texts would move a value, not how far other texts would`,
    ],
    ...(model.scoring === null ? [] : [["Router", model.scoring] as const]),
    [
      "Model",
      `${model.architecture}${model.hash === null ? "" : `, hash ${model.hash.slice(0, 16)}`}${model.tokenizerHash === null ? "" : `, tokenizer ${model.tokenizerHash.slice(0, 16)}`}`,
    ],
  ];
  const notes = [...report.notes, ...recording.notes];
  return html`<dl>${facts.map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>\n`)}</dl>
${notes.length === 0 ? undefined : html`<ul>${notes.map((note) => html`<li>${note}</li>\n`)}</ul>`}
`;
}

function conventionText({ settings }: LocalityReport): string {
  return settings.convention === "token/free"
    ? "token/free, as in the paper: all experts of a token are looked up before any is inserted, the first use of an expert is a hit while the cache has room, and every sample starts with an empty cache"
    : `layer/miss, what a runtime sees: layer by layer, first uses are misses, sizes in bytes; ${settings.microBatches === "token" ? "each token is a forward pass of its own" : "the trace's own micro-batches"}`;
}
