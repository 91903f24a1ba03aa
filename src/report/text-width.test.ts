import { expect, test } from "vitest";
import { fitText, textWidth, wrapText } from "./text-width.ts";

test("text that is too long is cut with an ellipsis, by characters and not by halves of them", () => {
  expect(fitText("wikipedia", 200, 12)).toBe("wikipedia");
  const cut = fitText("😀😀😀😀😀😀😀😀", 60, 12);
  expect(cut).toMatch(/^😀+…$/u);
  expect(textWidth(cut, 12)).toBeLessThanOrEqual(60);
});

test("lines break at spaces and stay within the width", () => {
  const lines = wrapText("448 samples of 512 tokens, prefill and decode together", 150, 12);
  expect(lines.join(" ")).toBe("448 samples of 512 tokens, prefill and decode together");
  expect(lines.length).toBeGreaterThan(1);
  for (const line of lines) expect(textWidth(line, 12)).toBeLessThanOrEqual(150);
});
