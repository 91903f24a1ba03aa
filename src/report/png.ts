/**
 * PNG from a figure's SVG. The renderer (resvg) is an optional package, and it draws text with the machine's fonts: without any
 * it leaves all text out and says nothing, so that is found out here before a single picture is written.
 */
import type { Resvg as ResvgClass } from "@resvg/resvg-js";

type ResvgModule = { readonly Resvg: typeof ResvgClass };

export type PngProblem = "not-installed" | "no-font";

export class PngError extends Error {
  override readonly name = "PngError";
  readonly problem: PngProblem;

  constructor(problem: PngProblem, cause?: unknown) {
    super(SENTENCES[problem], { cause });
    this.problem = problem;
  }
}

const SENTENCES: Readonly<Record<PngProblem, string>> = {
  "not-installed":
    "PNG files need the optional package @resvg/resvg-js, which is not installed or does not run here. Install it (npm install @resvg/resvg-js@2.6.2), or write SVG files instead.",
  "no-font":
    "This machine has no fonts, and PNG figures would come without their text. Install one (Debian, Ubuntu: apt-get install fonts-dejavu-core; Alpine: apk add font-dejavu), or write SVG files instead.",
};

export interface PngOptions {
  /** Pixels of the picture per pixel of the figure. Default: 2. */
  readonly pixelRatio?: number;
  /** Font files (.ttf, .otf) to use instead of the machine's fonts. Default: the machine's. */
  readonly fontFiles?: readonly string[];
}

/** Draws PNG files; made once for many figures. */
export interface PngRenderer {
  /** The figure's picture, on its background. */
  render(svg: string): Uint8Array;
}

/** Throws PngError where PNG files cannot be made here. */
export async function pngRenderer({ pixelRatio = 2, fontFiles }: PngOptions = {}): Promise<PngRenderer> {
  const { Resvg } = await loadResvg();
  const font =
    fontFiles === undefined ? { loadSystemFonts: true } : { loadSystemFonts: false, fontFiles: [...fontFiles] };
  if (new Resvg(TEXT_ONLY, { font }).getBBox() === undefined) throw new PngError("no-font");
  return { render: (svg) => new Resvg(svg, { font, fitTo: { mode: "zoom", value: pixelRatio } }).render().asPng() };
}

/** Has an extent only if some font draws it. */
const TEXT_ONLY = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text x="2" y="15">x</text></svg>';

async function loadResvg(): Promise<ResvgModule> {
  try {
    return await import("@resvg/resvg-js");
  } catch (cause) {
    throw new PngError("not-installed", cause);
  }
}
