import { Resvg } from "@resvg/resvg-js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newDocument, svgElement, writeXml } from "./svg-document.ts";

const document = newDocument();

describe("SVG as XML", () => {
  test("any text, in elements and attributes, leaves a file that a strict parser accepts", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const root = svgElement(
          document,
          "svg",
          { xmlns: "http://www.w3.org/2000/svg", width: 10, height: 10, "aria-label": text },
          svgElement(document, "title", {}, text),
          svgElement(document, "rect", { width: 5, height: 5, class: text }),
        );
        expect(() => new Resvg(writeXml(root), { font: { loadSystemFonts: false } })).not.toThrow();
      }),
      { numRuns: 40 },
    );
  });

  test("coordinates are rounded, other numbers are not", () => {
    const path = svgElement(document, "path", { d: "M1.23456,-0.04L10.25,3e2", "stroke-width": 1.25 });
    expect(writeXml(path)).toBe('<path d="M1.2,0L10.3,3e2" stroke-width="1.25"/>');
    expect(writeXml(svgElement(document, "text", { y: "0.32em", x: 1.26 }, "a < b"))).toBe(
      '<text y="0.32em" x="1.3">a &lt; b</text>',
    );
  });
});
