import fc from "fast-check";
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { escapeText, html, trusted, visibleCharacters } from "./markup.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom(..."<>&\"'`=/ab\u0000\u202e\ud800") }),
);

describe("markup", () => {
  test("text comes back out of a page as it went in, between tags and in attributes", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const { document } = parseHTML(`${html`<body><p title="${text}">${text}</p></body>`}`);
        const p = document.querySelector("p");
        expect(document.querySelectorAll("*").length).toBe(2);
        expect(p?.textContent).toBe(visibleCharacters(text));
        expect(p?.getAttribute("title")).toBe(visibleCharacters(text));
      }),
    );
  });

  test("nothing that XML forbids is left", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        // The characters of XML 1.0, section 2.2.
        expect(escapeText(text)).toMatch(/^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u);
        expect(escapeText(text)).not.toMatch(/[<>"']/);
      }),
    );
  });

  test("control characters can be seen, and text cannot turn around what follows", () => {
    expect(visibleCharacters("a\n\u0000\u007f\u202eb")).toBe("a␊␀␡\ufffdb");
  });

  test("pieces that are markup already are not escaped again, undefined leaves nothing", () => {
    expect(`${html`<ul>${["a<", "b"].map((item) => html`<li>${item}</li>`)}${undefined}${trusted("<hr>")}</ul>`}`).toBe(
      "<ul><li>a&lt;</li><li>b</li><hr></ul>",
    );
  });
});
