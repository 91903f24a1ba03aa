/** Tables of an evaluation: every variant, the conditions for shipping, domains, caches, the engine, and how it was measured. */
import type { EvaluationResult } from "../../tune/eval/evaluation.ts";
import type { Measured } from "../../tune/eval/measured.ts";
import { deploymentCell } from "../../tune/eval/ship-gates.ts";
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { bytesText, countText, intervalText, percentText, ratioText, signedPercentText } from "../number-text.ts";
import { baseOf, fullVariants } from "./subject.ts";

export function variantTable({ variants, deploymentExperts, generate }: EvaluationResult): Markup {
  const made = generate === null ? [] : ["EOR generated", "change", "Repeated"];
  return tableHtml({
    caption: `Every variant on the same text; beneath, the 95 % interval over documents. Hits and misses at ${deploymentExperts} experts for each layer, LRU.`,
    columns: [
      textColumn("Variant"),
      ...[
        ...["EOR", "change", ...made, "LRU hit", "Misses/token", "change", "Perplexity", "change"],
        ...[
          "KL mean",
          "KL 99 %",
          "Same top",
          "Trust KL",
          "Mass kept",
          "Choices kept",
          "SRP 16",
          "Entropy",
          "CV",
          "Swapped",
        ],
      ].map(numberColumn),
    ],
    rows: variants.map(({ name, kind, forced, generated, drift, swapRate }) => {
      const cell = deploymentCell(forced.caches, deploymentExperts);
      const isBase = kind === "base";
      return [
        name,
        share(forced.eor),
        change(forced.eorChange),
        ...(generate === null || generated === null
          ? []
          : [share(generated.eor), change(generated.eorChange), percentText(generated.repetition)]),
        cell === undefined ? "–" : share(cell.hitRate),
        ratioText(cell?.missesPerToken.value),
        change(cell?.missesChange ?? null),
        drift.perplexity.value.toFixed(3),
        isBase ? "–" : change(drift.perplexityChange),
        drift.meanKl.value.toFixed(4),
        drift.p99Kl.toFixed(3),
        percentText(drift.topAgreement.value),
        isBase || drift.trustKl === null ? "–" : drift.trustKl.value.toFixed(4),
        isBase ? "–" : percentText(drift.keptMass?.value),
        isBase ? "–" : percentText(drift.choiceAgreement?.value),
        percentText(forced.srp),
        forced.usageEntropy.toFixed(4),
        ratioText(forced.loadCv),
        percentText(swapRate),
      ];
    }),
  });
}

export function gateTables({ variants }: EvaluationResult): Markup {
  const judged = variants.filter(({ gates }) => gates.length > 0);
  if (judged.length === 0) return html`<p>Nothing was judged: no tuned routers were given.</p>`;
  return html`${judged.map(({ name, gates }) =>
    tableHtml({
      caption: name,
      columns: [textColumn("Condition"), textColumn("Must be"), textColumn("Is"), textColumn("Met")],
      rows: gates.map((gate) => [
        gate.name,
        gate.limit,
        gate.found,
        gate.passed === null ? "open" : gate.passed ? "yes" : "no",
      ]),
    }),
  )}`;
}

export function domainTable(result: EvaluationResult): Markup {
  const variants = [baseOf(result), ...fullVariants(result)];
  return tableHtml({
    caption: "By domain: overlap, perplexity and its change, mean KL",
    columns: [
      textColumn("Domain"),
      ...variants.flatMap(({ name, kind }) =>
        [`EOR, ${name}`, `perplexity, ${name}`, ...(kind === "base" ? [] : [`change, ${name}`, `KL, ${name}`])].map(
          numberColumn,
        ),
      ),
    ],
    rows: result.documents.domains.map((domain) => [
      domain,
      ...variants.flatMap(({ kind, domains }) => {
        const own = domains.find((one) => one.domain === domain);
        if (own === undefined) return kind === "base" ? ["–", "–"] : ["–", "–", "–", "–"];
        const { eor, drift } = own;
        const both = [percentText(eor), drift.perplexity.value.toFixed(2)];
        return kind === "base"
          ? both
          : [...both, signedPercentText(drift.perplexityChange.value), drift.meanKl.value.toFixed(4)];
      }),
    ]),
  });
}

export function cacheTable(result: EvaluationResult): Markup {
  const variants = [baseOf(result), ...fullVariants(result)];
  const { caches } = baseOf(result).forced;
  return tableHtml({
    caption:
      "Hit rates, and misses per token over all layers. Together: a layer's experts are looked up before any is evicted; one by one: each evicts at once. One cache for all layers holds as many experts as those of all layers.",
    columns: [
      ...[textColumn("Caches"), textColumn("Looked up"), textColumn("Policy"), numberColumn("Experts a layer")],
      ...variants.flatMap(({ name }) => [numberColumn(`hit, ${name}`), numberColumn(`misses, ${name}`)]),
    ],
    rows: caches.map(({ scope, accounting, policy, expertsPerLayer }, i) => [
      scope === "layer" ? "one a layer" : "one for all",
      accounting === "set" ? "together" : "one by one",
      { lru: "LRU", lfu: "LFU", belady: "Belady" }[policy],
      String(expertsPerLayer),
      ...variants.flatMap(({ forced }) => [
        percentText(forced.caches[i].hitRate.value),
        ratioText(forced.caches[i].missesPerToken.value),
      ]),
    ]),
  });
}

export function liveTable({ variants, live }: EvaluationResult): Markup {
  if (live === null) return html``;
  return tableHtml({
    caption: `${live.modelFile}, ${percentText(live.cacheShare, 0)} of the experts in memory, policy ${live.policy}: medians of ${live.runs} runs in turns, each from a cold page cache, on the same ${live.requests} documents of ${live.tokensPerRequest} tokens.`,
    columns: [
      textColumn("Variant"),
      ...["ms a token", "of runs", "Read a token", "Misses/token", "Hit", "Waiting (ms)", "Swapped", "KL"].map(
        numberColumn,
      ),
    ],
    rows: variants.flatMap(({ name, live: own, drift }) =>
      own === null
        ? []
        : [
            [
              ...[name, own.tpotMs.toFixed(1), own.tpotRangeMs.map((ms) => ms.toFixed(1)).join(" to ")],
              ...[bytesText(own.bytesPerToken), ratioText(own.missesPerToken), percentText(own.hitRate)],
              ...[own.stallMsPerToken.toFixed(1), percentText(own.swapRate), drift.meanKl.value.toFixed(4)],
            ],
          ],
    ),
  });
}

export function conditionsList(result: EvaluationResult): Markup {
  const { command, generate, notes, seconds, model } = result;
  const items = [
    `Model: ${model.name} (${model.architecture}), ${model.layers} layers of ${model.experts} experts, ${model.expertsUsed} used; ${bytesText(model.expertBytes)} each.`,
    ...(command === "" ? [] : [`Command: ${command}`]),
    "Perplexity, KL and agreement are of every token of the given text; KL is that of the variant's distribution from the base's, over the whole vocabulary.",
    "Trust KL, mass and choices kept hold each layer's gate against the frozen one on the same input.",
    "SRP 16: how well a router that decides once for 16 tokens could do (`warmset locality` has more). Entropy and CV are of the experts' uses in a layer, entropy over that of even use.",
    `Cache-prior rows are closed loop on caches of the deployment's size, without a drive, which ${result.warmCaches ? "go on from document to document" : "are empty at each document"}: what was swapped is what the model computed with.`,
    ...(generate === null
      ? []
      : [
          `Generated: ${generate.tokens} tokens behind ${generate.promptTokens} of each document, ${generate.temperature === 0 ? "the likeliest each time" : `at temperature ${generate.temperature}`}; the start does not count. Repeated: share of runs of four tokens that were there before.`,
        ]),
    `Intervals are basic bootstrap intervals over ${countText(result.documents.count)} documents, paired with the base.`,
    `It took ${seconds.toFixed(0)} s.`,
    ...notes,
  ];
  return html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`;
}

function share({ value, interval }: Measured): Markup {
  return html`${percentText(value)}${interval === null ? undefined : html`<small>${intervalText(interval)}</small>`}`;
}

function change(measured: Measured | null): Markup {
  if (measured === null) return html`–`;
  const { value, interval } = measured;
  const bounds =
    interval === null
      ? undefined
      : html`<small>${signedPercentText(interval[0])} to ${signedPercentText(interval[1])}</small>`;
  return html`${signedPercentText(value)}${bounds}`;
}
