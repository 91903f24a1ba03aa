/**
 * Markup from pieces that may hold anything: domain names and token strings come out of files that strangers wrote. Every
 * value put into `html` is escaped unless it is markup already. It builds strings; it is not a template language.
 */

/** Text that is markup already, because it came out of `html` or was marked by `trusted`. */
export class Markup {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

export type MarkupValue = Markup | string | number | readonly MarkupValue[] | undefined;

/**
 * Tagged template: `html\`<td>\${name}</td>\``. Strings and numbers are escaped (in attributes too, which have to be quoted),
 * lists are joined without a separator, undefined leaves nothing.
 */
export function html(parts: TemplateStringsArray, ...values: readonly MarkupValue[]): Markup {
  return new Markup(parts.reduce((text, part, i) => `${text}${markupOf(values[i - 1])}${part}`));
}

/** For markup made elsewhere, such as a figure's SVG. Never for text that came out of a trace. */
export function trusted(text: string): Markup {
  return new Markup(text);
}

/** Safe between tags and inside quoted attributes, in HTML and in XML. */
export function escapeText(text: string): string {
  return visibleCharacters(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Control characters as their pictures (U+2400 and up), since XML forbids most of them even as entities; lone surrogates and
 * non-characters as U+FFFD; marks that turn the direction of the text around (and could make a name read as another) as U+FFFD too.
 */
export function visibleCharacters(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .replace(/\p{Cc}/gu, (control) => controlPicture(control.charCodeAt(0)))
    .replace(/[\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd");
}

function controlPicture(code: number): string {
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\ufffd";
}

function markupOf(value: MarkupValue): string {
  if (value === undefined) return "";
  if (typeof value === "string") return escapeText(value);
  if (typeof value === "number") return String(value);
  return value instanceof Markup ? value.toString() : value.map(markupOf).join("");
}
