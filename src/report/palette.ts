/**
 * The colours of reports and figures, by what they are for. A figure is drawn with the light ones, so that an SVG or PNG file
 * stands on its own and paper looks like a screen; a page maps each to its dark twin with style rules (`darkFigureCss`), so every
 * colour here has a value that no other role has. Series differ in lightness too, for print in grey and for readers who see
 * fewer hues.
 */

export interface ColourRole {
  readonly light: string;
  readonly dark: string;
}

export const PALETTE = {
  surface: { light: "#ffffff", dark: "#15181d" },
  /** Text and marks that matter. */
  ink: { light: "#1c2126", dark: "#e9ecef" },
  /** Axis labels, captions. */
  muted: { light: "#59626b", dark: "#a2abb4" },
  /** What stands behind for comparison. */
  faint: { light: "#c6ccd2", dark: "#454d56" },
  grid: { light: "#e7eaed", dark: "#282e35" },
  /** The subject of the figure. */
  subject: { light: "#0a62ae", dark: "#63b1f6" },
  /** The subject under other settings. */
  related: { light: "#3878b2", dark: "#5a93c6" },
  /** Second and third series beside it, and what is picked out of the background. */
  second: { light: "#b9480a", dark: "#f2935a" },
  third: { light: "#007a5a", dark: "#3fc79d" },
  picked: { light: "#8b4a9c", dark: "#cd9bdd" },
} as const satisfies Record<string, ColourRole>;

/** Below, at and above a middle value: blue to orange, which red-green blindness leaves apart. */
export const DIVERGING: readonly ColourRole[] = [
  { light: "#0c4a86", dark: "#8cc4f7" },
  { light: "#2f77b8", dark: "#5b9bd6" },
  { light: "#71a8d8", dark: "#3c70a3" },
  { light: "#b3d2ec", dark: "#284a6c" },
  { light: "#f1f2f3", dark: "#22272d" },
  { light: "#f8d3b0", dark: "#61401f" },
  { light: "#eea766", dark: "#96602a" },
  { light: "#d5752a", dark: "#cf8640" },
  { light: "#9a4508", dark: "#f8b878" },
];

/** From little to much, one hue. */
export const SEQUENTIAL: readonly ColourRole[] = [
  { light: "#f3f6f9", dark: "#1d232a" },
  { light: "#dbe8f4", dark: "#20364b" },
  { light: "#bcd7ee", dark: "#254b6e" },
  { light: "#92bfe4", dark: "#2f6594" },
  { light: "#629fd5", dark: "#4281b8" },
  { light: "#3a7dbd", dark: "#5f9fd6" },
  { light: "#1d5c99", dark: "#89bfec" },
  { light: "#0e3d6c", dark: "#bfdff8" },
];

/** Rules that give figures inside `scope` their dark colours. A style rule wins over the attributes that a figure is drawn with. */
export function darkFigureCss(scope: string): string {
  return [...Object.values<ColourRole>(PALETTE), ...DIVERGING, ...SEQUENTIAL]
    .flatMap(({ light, dark }) => ["fill", "stroke"].map((paint) => `${scope} [${paint}="${light}"]{${paint}:${dark}}`))
    .join("\n");
}
