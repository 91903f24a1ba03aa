/**
 * The document that charts are drawn in, and SVG written out as strict XML. linkedom stands in for a browser's document; its
 * own serialiser is not used, because in HTML documents it leaves `<` and `&` in attributes as they are, which is not XML.
 */
import { parseHTML } from "linkedom";
import { escapeText } from "./markup.ts";

/** What is used of a browser's document: the compiler's own DOM types would let browser globals into the whole project. */
export interface SvgDocument {
  createElementNS(namespace: string, name: string): SvgElement;
  createTextNode(text: string): SvgNode;
}

export interface SvgNode {
  readonly nodeType: number;
  readonly textContent: string | null;
}

export interface SvgElement extends SvgNode {
  readonly localName: string;
  readonly attributes: Iterable<{ readonly name: string; readonly value: string }>;
  readonly childNodes: Iterable<SvgNode>;
  setAttribute(name: string, value: string): void;
  append(...children: readonly SvgNode[]): void;
}

/** A new, empty document. */
export function newDocument(): SvgDocument {
  return parseHTML("<!doctype html><html><body></body></html>").document;
}

/** An element of SVG with its attributes. */
export function svgElement(
  document: SvgDocument,
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: readonly (SvgNode | string)[]
): SvgElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children.map((child) => (typeof child === "string" ? document.createTextNode(child) : child)));
  return element;
}

/**
 * The element and all below it as XML. Coordinates are rounded to a tenth of a pixel: that halves the size of a page and
 * cannot be seen.
 */
export function writeXml(element: SvgElement): string {
  // linkedom keeps the newest attribute first.
  const attributes = [...element.attributes].reverse().map(({ name, value }) => {
    const written = COORDINATES.has(name) ? roundPixels(value) : value;
    return ` ${name}="${escapeText(written)}"`;
  });
  const children = [...element.childNodes].map((child) => {
    if (child.nodeType === ELEMENT_NODE) return writeXml(child as SvgElement);
    return child.nodeType === TEXT_NODE ? escapeText(child.textContent ?? "") : "";
  });
  const opening = `<${element.localName}${attributes.join("")}`;
  return children.length === 0 ? `${opening}/>` : `${opening}>${children.join("")}</${element.localName}>`;
}

const ELEMENT_NODE = 1;
const TEXT_NODE = 3;
/** Attributes that hold pixels (and only pixels, or "0.32em"). */
const COORDINATES = new Set(["d", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"]);

function roundPixels(value: string): string {
  return value.replace(/-?\d+\.\d{2,}(?:e-?\d+)?(?!\d|em)/g, (number) => String(Math.round(Number(number) * 10) / 10));
}
