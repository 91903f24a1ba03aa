/** Which words the most specialised experts take: a readable look at what experts do. */
import { numberColumn, tableHtml, textColumn } from "../data-table.ts";
import { html, type Markup } from "../markup.ts";
import { countText, percentText } from "../number-text.ts";
import type { Subject } from "./subject.ts";

const KINDS = {
  input: "By input token",
  predicted: "By the token that the model predicts",
  next: "By the true next token",
} as const;
const EXPERTS = 12;

/** One section, or none where the trace has no tokens. */
export function expertVocabulary({ phase, report }: Subject): Markup[] {
  const kinds = (phase.vocabulary?.kinds ?? []).filter(({ examples }) => examples.length > 0);
  if (phase.vocabulary === null || kinds.length === 0) return [];
  const tables = kinds.map(({ kind, vocabulary, examples }) => {
    const table = tableHtml({
      caption: `${countText(vocabulary)} tokens that occur at least ${phase.vocabulary?.smallestCount} times; the most specialised experts`,
      columns: [
        numberColumn("Block"),
        numberColumn("Expert"),
        numberColumn("VS"),
        numberColumn("Tokens"),
        textColumn("Those it takes most of"),
      ],
      rows: examples
        .slice(0, EXPERTS)
        .map(({ layer, expert, specialisation, assigned, tokens }) => [
          String(report.model.moeBlocks[layer]),
          String(expert),
          percentText(specialisation),
          countText(assigned),
          html`${tokens.map(({ text, token }) => html`<code>${text === null ? `#${token}` : tokenText(text)}</code> `)}`,
        ]),
    });
    return html`<details${kind === kinds[0].kind ? html` open` : undefined}><summary>${KINDS[kind]}</summary>
${table}</details>
`;
  });
  return [
    html`<p>VS is the share of a token's occurrences whose best expert in that layer is this one, mean over the tokens that belong to it.</p>
${tables}`,
  ];
}

/** Spaces and line ends made visible, in characters that most fonts have. */
function tokenText(text: string): string {
  return text.replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t").replaceAll(" ", "␣");
}
