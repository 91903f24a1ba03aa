/** The head of the report: what was traced, and the analysis' verdict in plain words. */
import type { LocalityReport } from "../../locality/report-data.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, countText, percentText } from "../number-text.ts";
import { phaseText, type Subject, tokensText } from "./subject.ts";

const SUITS = { well: "good", partly: "mixed", poorly: "bad", unknown: "unknown" } as const;

export function verdictBox({ phase }: Subject): Markup {
  const { suits, headline, sentences } = phase.verdict;
  const list =
    sentences.length === 0 ? undefined : html`<ul>${sentences.map((sentence) => html`<li>${sentence}</li>`)}</ul>`;
  return html`<div class="verdict ${SUITS[suits]}"><p>${headline}</p>${list}</div>
`;
}

/** Lines beneath the title: shape of the model, size of the trace. */
export function traceFacts(report: LocalityReport): Markup {
  const { model, phases } = report;
  const { experts, expertsUsed, moeBlocks, expertBytes, sharedExperts } = model;
  const bytes = expertBytes.reduce((sum, size) => sum + size * experts, 0);
  const shape = [
    `${moeBlocks.length} MoE ${moeBlocks.length === 1 ? "layer" : "layers"} of ${experts} experts, ${expertsUsed} per token (${percentText(expertsUsed / experts)})`,
    ...(sharedExperts ? [`${sharedExperts} shared`] : []),
    ...(bytes > 0 ? [`experts ${bytesText(bytes)}`] : []),
  ];
  const lines = phases.map((phase) => {
    const { samples, tokens, byDomain } = phase.samples;
    const name = phases.length > 1 ? `${phase.phase}: ` : "";
    return `${name}${countText(samples)} ${samples === 1 ? "sample" : "samples"}, ${countText(tokens)} ${tokensText({ report, phase })}, ${byDomain.length} ${byDomain.length === 1 ? "domain" : "domains"}${phases.length > 1 ? "" : `, ${phaseText(phase)}`}`;
  });
  return html`<p>${shape.join(" · ")}</p>
${lines.map((line) => html`<p>${line}</p>\n`)}`;
}
