/**
 * How wide text will be, without a browser to ask: margins and truncation need an estimate before any font is known. The
 * widths are those of DejaVu Sans, the widest of the fonts a figure asks for, so text in another font takes less room, not more.
 */

/**
 * Named ones first, because what "sans-serif" means to a program without a browser is not settled (resvg takes Arial, or else
 * a serif); none in quotes, because resvg gives up on a list that mixes quoted and bare names.
 */
export const FONT_FAMILY =
  "Inter, Helvetica Neue, Helvetica, Arial, Segoe UI, Roboto, Noto Sans, Liberation Sans, DejaVu Sans, sans-serif";

/** Widths in font sizes; others are taken as 0.64, East Asian ones as 1. */
const WIDTHS: Readonly<Record<string, number>> = {
  ...widths("iIjl|'", 0.3),
  ...widths('ft(){}[]"/\\ .,:;-', 0.4),
  ...widths("ABCDEFGHKLNOPQRSTUVXYZ&", 0.72),
  ...widths("mMwW%@<>=+~…", 1),
};

/** Estimated width of one line, in pixels. */
export function textWidth(text: string, fontSize: number): number {
  let ems = 0;
  for (const character of text) ems += WIDTHS[character] ?? ((character.codePointAt(0) ?? 0) >= 0x2e80 ? 1 : 0.64);
  return ems * fontSize;
}

/** The text, or as much of its beginning as fits, with an ellipsis. */
export function fitText(text: string, maxWidth: number, fontSize: number): string {
  if (textWidth(text, fontSize) <= maxWidth) return text;
  const characters = [...text];
  while (characters.length > 1 && textWidth(`${characters.join("")}…`, fontSize) > maxWidth) characters.pop();
  return `${characters.join("").trimEnd()}…`;
}

/** The text broken at spaces into lines that fit. */
export function wrapText(text: string, maxWidth: number, fontSize: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && textWidth(longer, fontSize) <= maxWidth) lines[lines.length - 1] = longer;
    else lines.push(fitText(word, maxWidth, fontSize));
  }
  return lines;
}

function widths(characters: string, ems: number): Record<string, number> {
  return Object.fromEntries([...characters].map((character) => [character, ems]));
}
