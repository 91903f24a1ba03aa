import { describe, expect, test } from "vitest";
import { chart } from "./chart.ts";
import { type CellColours, colourCells, colourStep } from "./colour-cells.ts";
import { newDocument, writeXml } from "./svg-document.ts";

const COLOURS: CellColours = {
  borders: [1, 2],
  colours: ["#aa0000", "#00aa00", "#0000aa"],
  title: "",
  borderText: String,
};

describe("coloured cells", () => {
  test("a value on a border belongs to the step above", () => {
    expect([0.99, 1, 1.99, 2, 9].map((value) => colourStep(value, COLOURS))).toEqual([0, 1, 1, 2, 2]);
  });

  test("neighbours of one colour are one rectangle, holes stay empty", () => {
    const { element } = chart(
      { document: newDocument(), width: 400, narrow: false },
      {
        plotHeight: 100,
        marginLeft: 0,
        marginRight: 0,
        x: { title: "", domain: [0, 4], ticks: 0 },
        y: { title: "", domain: [1, 0], ticks: 0 },
        marks: [colourCells([[0, 0, null, 5]], COLOURS)],
      },
    );
    const paths = [...writeXml(element).matchAll(/<path d="([^"]*)" fill="(#[0-9a-f]{6})" shape/g)];
    expect(paths.map(([, d, fill]) => [fill, d])).toEqual([
      ["#aa0000", expect.stringMatching(/^M0,[\d.]+h200v100H0z$/)],
      ["#0000aa", expect.stringMatching(/^M300,[\d.]+h100v100H300z$/)],
    ]);
  });
});
