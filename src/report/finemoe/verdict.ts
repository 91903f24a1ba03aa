/** The first words of a policy comparison: how ours does, and what of the page is measured and what simulated. */
import type { FinemoeResult } from "../../bench/finemoe/results.ts";
import { html, type Markup } from "../markup.ts";
import { middleShare, msText, rowsAt, type Side, shareText, sidesOf, sideText } from "./subject.ts";

const OURS = "warmset";

export function finemoeVerdict(result: FinemoeResult): Markup {
  const judged = result.targets.filter(({ met }) => met !== null);
  const met = judged.filter((target) => target.met).length;
  const missed = judged.length - met;
  const tone = missed === 0 ? "good" : met > missed ? "mixed" : "bad";
  return html`<div class="verdict ${judged.length === 0 ? "mixed" : tone}"><p>${
    judged.length === 0
      ? "No goal could be judged: the policy that they are for did not run."
      : `${met} of ${judged.length} goals met${result.targets.length > judged.length ? `, ${result.targets.length - judged.length} open` : ""}.`
  }</p>
<ul>${sidesOf(result).map((side) => html`<li>${sideSentence(side)}</li>`)}</ul></div>
<p>${howMade(result)}</p>`;
}

function sideSentence(side: Side): string {
  const share = middleShare(side.rows);
  const rows = rowsAt(side.rows, share);
  const time = (policy: string) => rows.find((row) => row.policy === policy)?.tpotMs.value;
  const named = ["on-demand", "lru", "finemoe", OURS, "belady", "oracle-prefetch"].flatMap((policy) => {
    const ms = time(policy);
    return ms === undefined ? [] : [`${policy} ${msText(ms)}`];
  });
  return `${sideText(side)}, ${shareText(share)} of the experts, a token: ${named.join(", ")}.`;
}

function howMade(result: FinemoeResult): string {
  const sources = new Set(result.rows.map(({ source }) => source));
  const { configuration } = result;
  const simulated = `Rows called simulated replay recorded routing through the engine's own cache and policies, on a model of this machine in virtual time. ${configuration.drive.text} ${configuration.compute.text}`;
  if (!sources.has("measured")) return `${simulated} Nothing on this page was measured on the engine.`;
  return `${simulated} Rows called measured ran on the engine, each policy in a process of its own, on the same forced tokens.`;
}
