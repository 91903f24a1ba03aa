/** The last section: what ran on what, with which command. */
import type { FinemoeResult } from "../../bench/finemoe/results.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, countText, percentText } from "../number-text.ts";
import { shareText } from "./subject.ts";

export function configurationList({ configuration: c, date, elapsedMs, notes }: FinemoeResult): Markup {
  const { measured } = c;
  const facts: (readonly [string, string | Markup])[] = [
    ["Command", html`<code>${c.command}</code>`],
    [
      "Program and machine",
      `warmset ${c.warmset}; ${c.machine.cpu}, ${c.machine.cores} cores, ${bytesText(c.machine.memoryBytes)}, ${c.machine.kernel}`,
    ],
    [
      "Model",
      `${c.model}: ${c.expertBytes.length} layers of ${c.experts} experts, ${c.expertsUsed} used per token, ${bytesText(c.expertBytes[0])} each; a token uses ${bytesText(c.tokenCycleBytes)}`,
    ],
    [
      "Requests",
      `${c.trace}; ${countText(c.testPrompts)} test prompts, ${countText(c.trainPrompts)} learned from, split by a hash of the prompt at ${percentText(c.heldOutShare, 0)}: no test prompt is in any store`,
    ],
    ["Caches", c.cacheShares.map(shareText).join(", ")],
    ["Drive, simulated", c.drive.text],
    ["Computing, simulated", c.compute.text],
    [
      "Measured runs",
      measured === null
        ? "none"
        : `${measured.modelFile}; ${measured.requests} requests, ${measured.decodeTokensPerRequest} forced tokens each, ${measured.runs} rounds in turned order, ${measured.threads} threads, page cache ${measured.pageCache}${measured.driveBytesPerSecond === null ? "" : `, drive at ${(measured.driveBytesPerSecond / 1e9).toFixed(2)} GB/s`}`,
    ],
    ["Floor", "on-demand: only what the router chose is read, nothing is kept. It stands beside every row."],
    [
      "Coverage",
      "routed experts that the policy had predicted, resident or not, over routed experts: the paper's hit rate. Only policies that count it have it.",
    ],
    [
      "GoodPred",
      "of the look-ups that would have missed without reading ahead, those that a speculative read brought in time (ProMoE).",
    ],
    [
      "ρ",
      "(bytes missed by a token / the drive's speed) / computing of a token. Far above 1 the drive is always busy, and reading ahead only reorders it.",
    ],
    ["When", `${date.slice(0, 16).replace("T", " ")} UTC, ${(elapsedMs / 60_000).toFixed(1)} minutes`],
    ...notes.map((note) => ["Note", note] as const),
  ];
  return html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
