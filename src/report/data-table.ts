/** Tables of a report: the key figures, and the numbers behind each figure. Cells hold formatted text, or markup. */
import { html, type Markup } from "./markup.ts";

export interface DataTable {
  /** What the table holds, for those who cannot see it. */
  readonly caption: string;
  readonly columns: readonly TableColumn[];
  /** One cell per column. */
  readonly rows: readonly (readonly (string | Markup)[])[];
}

export interface TableColumn {
  /** With its unit: "SRP (%)". */
  readonly heading: string;
  /** Text stands left, numbers right. */
  readonly holds: "text" | "number";
}

/** A column of text. */
export function textColumn(heading: string): TableColumn {
  return { heading, holds: "text" };
}

/** A column of numbers. */
export function numberColumn(heading: string): TableColumn {
  return { heading, holds: "number" };
}

/**
 * The table in a box that scrolls sideways where it is too wide. The first column heads its rows. `marked` rows (by index)
 * stand out.
 */
export function tableHtml(table: DataTable, marked: ReadonlySet<number> = new Set()): Markup {
  const kind = (column: number) => (table.columns[column].holds === "number" ? html` class="number"` : undefined);
  const head = table.columns.map(({ heading }, i) => html`<th scope="col"${kind(i)}>${heading}</th>`);
  const rows = table.rows.map((cells, r) => {
    const written = cells.map((cell, i) =>
      i === 0 ? html`<th scope="row"${kind(i)}>${cell}</th>` : html`<td${kind(i)}>${cell}</td>`,
    );
    return html`<tr${marked.has(r) ? html` class="marked"` : undefined}>${written}</tr>\n`;
  });
  return html`<div class="table" tabindex="0" role="region" aria-label="${table.caption}">
<table><caption><span>${table.caption}</span></caption>
<thead><tr>${head}</tr></thead>
<tbody>
${rows}</tbody></table></div>
`;
}
