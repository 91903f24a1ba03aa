/**
 * A figure: one picture of one or more charts, drawn for a page or a file (wide) and for a phone (narrow), with a description in
 * words and the numbers behind it. What the charts show is up to the caller; here they are set side by side, named for screen
 * readers and written as SVG that needs nothing else.
 */
import type { DataTable } from "./data-table.ts";
import { PALETTE } from "./palette.ts";
import { newDocument, type SvgDocument, type SvgElement, svgElement, writeXml } from "./svg-document.ts";
import { FONT_FAMILY, wrapText } from "./text-width.ts";

export interface Figure {
  /** File name without its ending, and anchor in a page: lower case, digits, hyphens. */
  readonly id: string;
  readonly title: string;
  /** What there is to see, for those who cannot. */
  readonly description: string;
  /** How to read it, and what it says, in a few sentences. */
  readonly caption: string;
  /** Self-contained SVG as a file of its own, with a background and a margin. */
  readonly svg: string;
  /** The same for a page, `WIDE_PIXELS` wide, without margin. */
  readonly wideSvg: string;
  /** For a page on a narrow screen, `NARROW_PIXELS` wide. */
  readonly narrowSvg: string;
  readonly table: DataTable;
}

export const WIDE_PIXELS = 720;
export const NARROW_PIXELS = 360;

export const FONT_PIXELS = 12;

/** What a chart is drawn into. */
export interface Panel {
  readonly document: SvgDocument;
  /** Width that the chart has, in pixels. */
  readonly width: number;
  /** Drawn for a phone: fewer ticks, fewer labels. */
  readonly narrow: boolean;
}

/** A chart, drawn. */
export interface DrawnChart {
  readonly element: SvgElement;
  readonly height: number;
}

export interface FigureParts extends Pick<Figure, "id" | "title" | "description" | "caption" | "table"> {
  /** What the figure is of and under which conventions: the line at its foot. */
  readonly source: string;
  /** Charts, in reading order. */
  readonly charts: readonly ((panel: Panel) => DrawnChart)[];
  /** Charts beside each other in the wide figure; the narrow one has them one below the other. Default: 1. */
  readonly columns?: number;
}

export function figure(parts: FigureParts): Figure {
  const { id, title, description, caption, table } = parts;
  const wide = compose(parts, WIDE_PIXELS, parts.columns ?? 1);
  const narrow = compose(parts, NARROW_PIXELS, 1);
  return {
    id,
    title,
    description,
    caption,
    table,
    svg: write(parts, wide, "file", FILE_MARGIN),
    wideSvg: write(parts, wide, "wide", 0),
    narrowSvg: write(parts, narrow, "narrow", 0),
  };
}

const FILE_MARGIN = 16;
const COLUMN_GAP = 24;
const ROW_GAP = 14;
const SOURCE_FONT_PIXELS = 10.5;
const SOURCE_LINE = 15;

interface Composition {
  readonly document: SvgDocument;
  readonly width: number;
  readonly height: number;
  readonly elements: readonly SvgElement[];
}

/** The charts in rows, and the source line beneath. */
function compose({ source, charts }: FigureParts, width: number, columns: number): Composition {
  const document = newDocument();
  const panelWidth = (width - (columns - 1) * COLUMN_GAP) / columns;
  const drawn = charts.map((draw) => draw({ document, width: panelWidth, narrow: width === NARROW_PIXELS }));
  const elements: SvgElement[] = [];
  let top = 0;
  for (let first = 0; first < drawn.length; first += columns) {
    const row = drawn.slice(first, first + columns);
    if (first > 0) top += ROW_GAP;
    for (const [i, { element }] of row.entries())
      elements.push(moved(document, i * (panelWidth + COLUMN_GAP), top, element));
    top += Math.max(...row.map(({ height }) => height));
  }
  const lines = wrapText(source, width, SOURCE_FONT_PIXELS).map((line, i) =>
    svgElement(document, "text", { x: 0, y: top + 18 + i * SOURCE_LINE }, line),
  );
  elements.push(svgElement(document, "g", { "font-size": SOURCE_FONT_PIXELS, fill: PALETTE.muted.light }, ...lines));
  return { document, width, height: Math.ceil(top + 10 + lines.length * SOURCE_LINE), elements };
}

/** A root element around the composition. `use` keeps the names of several roots in one page apart. */
function write({ id, title, description }: FigureParts, composition: Composition, use: string, margin: number): string {
  const { document, elements } = composition;
  const width = composition.width + 2 * margin;
  const height = composition.height + 2 * margin;
  const names = { title: `${id}-${use}-title`, description: `${id}-${use}-description` };
  const root = svgElement(
    document,
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `${-margin} ${-margin} ${width} ${height}`,
      role: "img",
      "aria-labelledby": `${names.title} ${names.description}`,
      "font-family": FONT_FAMILY,
      "font-size": FONT_PIXELS,
      fill: PALETTE.ink.light,
    },
    svgElement(document, "title", { id: names.title }, title),
    svgElement(document, "desc", { id: names.description }, description),
    svgElement(document, "rect", { x: -margin, y: -margin, width, height, fill: PALETTE.surface.light }),
    ...elements,
  );
  return writeXml(root);
}

/** The drawn chart moved into place, without the style rules that only a page of its own would need. */
function moved(document: SvgDocument, left: number, top: number, chart: SvgElement): SvgElement {
  const children = [...chart.childNodes].filter((child) => (child as SvgElement).localName !== "style");
  return svgElement(document, "g", { transform: `translate(${left},${top})`, "text-anchor": "middle" }, ...children);
}
