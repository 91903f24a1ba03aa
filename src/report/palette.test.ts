import { describe, expect, test } from "vitest";
import { type ColourRole, DIVERGING, darkFigureCss, PALETTE, SEQUENTIAL } from "./palette.ts";

const ALL: readonly ColourRole[] = [...Object.values(PALETTE), ...DIVERGING, ...SEQUENTIAL];

describe("the palette", () => {
  test("no two roles share a light colour, or a page could not map them to dark ones", () => {
    expect(new Set(ALL.map(({ light }) => light)).size).toBe(ALL.length);
  });

  test("every colour has its dark twin in a page's style", () => {
    const css = darkFigureCss("figure");
    for (const { light, dark } of ALL)
      for (const paint of ["fill", "stroke"]) expect(css).toContain(`figure [${paint}="${light}"]{${paint}:${dark}}`);
  });

  test.each(["ink", "muted", "subject", "related", "second", "third", "picked"] as const)(
    "text in %s can be read on light and dark pages (WCAG AA)",
    (name) => {
      for (const side of ["light", "dark"] as const)
        expect(contrast(PALETTE[name][side], PALETTE.surface[side])).toBeGreaterThanOrEqual(4.5);
    },
  );
});

/** Of WCAG 2.1, from 1 to 21. */
function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
