/**
 * A self-contained HTML page: title, sections, figures, tables. One file that works offline, on a phone, in the dark and on paper;
 * it has no scripts and loads nothing, which its content security policy holds browsers to.
 */
import { tableHtml } from "./data-table.ts";
import type { Figure } from "./figure.ts";
import { html, type Markup, trusted } from "./markup.ts";
import { PAGE_CSS } from "./page-style.ts";

export interface Page {
  /** Of the document, and its first heading. */
  readonly title: string;
  /** Beneath the title: what the report is of. */
  readonly subtitle: Markup;
  readonly sections: readonly PageSection[];
  /** What made the page, and when. */
  readonly footer: Markup;
}

export interface PageSection {
  /** Anchor: lower case, digits, hyphens. */
  readonly id: string;
  readonly heading: string;
  readonly content: Markup;
}

export function renderPage({ title, subtitle, sections, footer }: Page): string {
  const links = sections.map(({ id, heading }) => html`<li><a href="#${id}">${heading}</a></li>`);
  const bodies = sections.map(
    ({ id, heading, content }) => html`<section id="${id}" aria-labelledby="${id}-heading">
<h2 id="${id}-heading">${heading}</h2>
${content}</section>
`,
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>
${trusted(PAGE_CSS)}
</style>
</head>
<body>
<header>
<h1>${title}</h1>
${subtitle}
<nav aria-label="Sections"><ul>${links}</ul></nav>
</header>
<main>
${bodies}</main>
<footer>${footer}</footer>
</body>
</html>
`.toString();
}

/** A figure with its caption, and the numbers behind it folded away. */
export function figureHtml({ id, title, caption, wideSvg, narrowSvg, table }: Figure): Markup {
  return html`<figure id="${id}">
<h3>${title}</h3>
<div class="wide">${trusted(wideSvg)}</div>
<div class="narrow">${trusted(narrowSvg)}</div>
<figcaption>${caption}</figcaption>
<details><summary>The numbers</summary>
${tableHtml(table)}</details>
</figure>
`;
}
