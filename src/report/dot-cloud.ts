/**
 * Thousands of dots in a few paths: each dot is a line of no length with round ends, a dozen bytes instead of a circle's
 * hundred. Dots of one path do not darken each other, so they are dealt out over several translucent ones.
 */
import type { Markish } from "@observablehq/plot";
import { ownMark } from "./chart.ts";
import { svgElement } from "./svg-document.ts";

export interface DotCloud {
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly colour: string;
}

const LAYERS = 8;

export function dotCloud({ points, colour }: DotCloud): Markish {
  return ownMark(({ document, x, y }) => {
    const paths = Array.from({ length: LAYERS }, () => "");
    for (const [i, [px, py]] of points.entries())
      paths[i % LAYERS] += `M${Math.round(10 * x(px)) / 10},${Math.round(10 * y(py)) / 10}h0`;
    const [size, opacity] = points.length > 1500 ? [3, 0.35] : points.length > 300 ? [4, 0.45] : [5, 0.6];
    return paths
      .filter((d) => d !== "")
      .map((d) =>
        svgElement(document, "path", {
          d,
          fill: "none",
          stroke: colour,
          "stroke-width": size,
          "stroke-linecap": "round",
          "stroke-opacity": opacity,
        }),
      );
  });
}
