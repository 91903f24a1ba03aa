import { Resvg } from "@resvg/resvg-js";
import { parseHTML } from "linkedom";
import { beforeAll, describe, expect, test } from "vitest";
import type { LocalityReport } from "../locality/report-data.ts";
import type { Figure } from "./figure.ts";
import { madeUpReport } from "./locality-report.test-data.ts";
import { localityFigures, renderLocalityHtml } from "./locality-report.ts";

type ParsedPage = ReturnType<typeof parseHTML>["document"];

const HOSTILE = [
  "</text></svg><script>alert(1)</script>",
  '" onload="alert(2)',
  "<img src=https://evil.example/a.png>",
  "a\u0000b\u001b[31m\u202ec",
  "]]>&amp;&#60;",
  "lone \ud800 surrogate",
];

const ALL_FIGURES = [
  "cache-curves",
  "sch-by-segment",
  "cache-against-published",
  "srp-by-layer",
  "srp-by-segment",
  "srp-by-position",
  "reuse",
  "load-balance",
  "activation-heat-map",
  "domains",
  "domain-transfer",
  "specialisation",
];

describe("the report of a full trace", () => {
  let page: string;
  let document: ParsedPage;
  let figures: readonly Figure[];
  const report = madeUpReport();

  beforeAll(() => {
    page = renderLocalityHtml(report);
    document = parseHTML(page).document;
    figures = localityFigures(report);
  });

  test("it is well-formed: every tag is closed in order, every id is there once", () => {
    expect(unbalanced(page)).toEqual([]);
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(ids.length).toBeGreaterThan(50);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("it needs nothing else: no scripts, no references to other places", () => {
    expect(referencesOf(page)).toEqual([]);
    expect(page.includes("default-src 'none'")).toBe(true);
  });

  test("it has all figures, each with a picture for wide and for narrow screens, caption and numbers", () => {
    expect(figures.map(({ id }) => id)).toEqual(ALL_FIGURES);
    for (const id of ALL_FIGURES) {
      const figure = document.getElementById(id);
      expect(figure.querySelectorAll("svg").length, id).toBe(2);
      expect(figure.querySelector("figcaption").textContent.length, id).toBeGreaterThan(60);
      expect(figure.querySelectorAll("details tbody tr").length, id).toBeGreaterThan(1);
    }
  });

  test("every picture has a title and a description that screen readers are pointed to", () => {
    for (const svg of document.querySelectorAll("svg")) {
      const [title, description] = svg.getAttribute("aria-labelledby").split(" ");
      expect(svg.querySelector(`[id="${title}"]`).textContent).not.toBe("");
      expect(svg.querySelector(`[id="${description}"]`).textContent.length).toBeGreaterThan(40);
    }
  });

  test("every figure says which convention, phase and sample length it is of", () => {
    for (const { id, svg } of figures) {
      expect(svg, id).toContain("samples of 512 tokens");
      expect(svg, id).toContain("prefill and decode together, given");
      if (id.startsWith("cache")) expect(svg, id).toContain("token/free");
    }
  });

  test("verdict, key figures and published models of the same k/E come as the analysis gives them", () => {
    expect(document.querySelector(".verdict p").textContent).toBe(report.phases[0].verdict.headline);
    expect(document.querySelectorAll(".verdict li").length).toBe(report.phases[0].verdict.sentences.length);
    expect(rowOf(document, "SRP, segments of 16 tokens")).toEqual([
      "50.4 %49.8 to 51.0 %",
      "33.1 % for a memoryless router",
    ]);
    expect(rowOf(document, "this trace")[0]).toBe("64/8");
    expect(rowOf(document, "Qwen2-57B-A14B")[0]).toBe("64/8 + 8");
  });

  test("no number went wrong on the way to a picture or a table", () => {
    expect(oddNumbers(page)).toEqual([]);
  });

  test("files are strict XML", () => {
    for (const { svg } of figures) expect(() => new Resvg(svg, { font: { loadSystemFonts: false } })).not.toThrow();
  });
});

describe("text from the trace", () => {
  const report = madeUpReport({ key: "mixtral", domains: HOSTILE, tokenTexts: HOSTILE });
  const hostile: LocalityReport = {
    ...report,
    model: { ...report.model, name: HOSTILE[0], scoring: HOSTILE[2] },
    notes: HOSTILE,
    recording: { ...report.recording, recorder: HOSTILE[1], start: HOSTILE[0], notes: HOSTILE },
  };

  test("it cannot add tags, attributes or references", () => {
    const page = renderLocalityHtml(hostile);
    expect(unbalanced(page)).toEqual([]);
    expect(referencesOf(page)).toEqual([]);
    expect(page.includes("&lt;/text&gt;&lt;/svg&gt;&lt;script&gt;alert(1)&lt;/script&gt;")).toBe(true);
    expect(parseHTML(page).document.title).toBe(`Routing locality of ${HOSTILE[0]}`);
  });

  test("its figures are strict XML", () => {
    for (const { svg } of localityFigures(hostile))
      expect(() => new Resvg(svg, { font: { loadSystemFonts: false } })).not.toThrow();
  });
});

describe("traces that lack something", () => {
  test("without domains and token ids the figures of both are left out, with their chapter", () => {
    const report = madeUpReport({ domains: ["only"], vocabulary: false });
    expect(localityFigures(report).map(({ id }) => id)).toEqual(ALL_FIGURES.slice(0, 9));
    const page = renderLocalityHtml(report);
    expect(headings(page)).not.toContain("Domains and specialisation");
    expect(headings(page)).not.toContain("Words of experts");
    expect(oddNumbers(page)).toEqual([]);
  });

  test("samples that are too short for a segment leave its figures out and name no SRP", () => {
    const report = madeUpReport({ sampleLength: 3 });
    const ids = localityFigures(report).map(({ id }) => id);
    expect(ids.filter((id) => id.includes("srp") || id.includes("segment"))).toEqual([]);
    expect(ids).toContain("cache-curves");
    const page = renderLocalityHtml(report);
    expect(oddNumbers(page)).toEqual([]);
    expect(rowOf(parseHTML(page).document, "this trace").slice(1, 4)).toEqual(["–", "–", "–"]);
  });

  test("one MoE layer, sizes and intervals unknown: still a page", () => {
    const base = madeUpReport({ key: "openmoe", layers: 1 });
    const report: LocalityReport = {
      ...base,
      model: { ...base.model, expertBytes: base.model.expertBytes.map(() => 0) },
      settings: { ...base.settings, bootstrapReplicas: 0 },
      phases: base.phases.map((phase) => ({
        ...phase,
        srp: phase.srp.map((segment) => ({
          ...segment,
          model: segment.model && { ...segment.model, interval: null },
          layers: segment.layers.map((layer) => ({ ...layer, interval: null })),
        })),
      })),
    };
    const page = renderLocalityHtml(report);
    expect(unbalanced(page)).toEqual([]);
    expect(oddNumbers(page)).toEqual([]);
  });

  test("hit rates of another convention are not drawn or tabled beside published ones", () => {
    const base = madeUpReport();
    const report: LocalityReport = { ...base, settings: { ...base.settings, convention: "layer/miss" } };
    const figure = localityFigures(report).find(({ id }) => id === "cache-against-published")!;
    expect(figure.svg).not.toContain("Mixtral");
    expect(figure.caption).toContain("token/free");
    expect(rowOf(parseHTML(renderLocalityHtml(report)).document, "Phi-3.5-MoE").slice(-4, -1)).toEqual(["–", "–", "–"]);
  });
});

test("prefill and decode each have their sections and figures", () => {
  const report = madeUpReport({ phases: ["prefill", "decode"] });
  const ids = localityFigures(report).map(({ id }) => id);
  expect(ids).toEqual([...ALL_FIGURES.map((id) => `prefill-${id}`), ...ALL_FIGURES.map((id) => `decode-${id}`)]);
  const page = renderLocalityHtml(report);
  const all = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  expect(new Set(all).size).toBe(all.length);
  expect(headings(page)).toEqual(expect.arrayContaining(["Verdict, prefill", "Verdict, decode"]));
});

/** What no page should say, with some of what stands around it. */
function oddNumbers(page: string): string[] {
  return page.match(/.{0,60}(NaN|Infinity|undefined|\[object).{0,20}/g) ?? [];
}

/** Tags that are not closed, or not in order. */
function unbalanced(page: string): string[] {
  const voids = new Set(["meta", "hr", "br", "!doctype"]);
  const open: string[] = [];
  const wrong: string[] = [];
  for (const [, closing, name, selfClosed] of page.matchAll(
    /<(\/?)([!a-zA-Z][\w-]*)(?:[^"'>]|"[^"]*"|'[^']*')*?(\/?)>/g,
  )) {
    if (voids.has(name) || selfClosed === "/") continue;
    if (closing !== "/") open.push(name);
    else if (open.pop() !== name) wrong.push(name);
  }
  return [...wrong, ...open];
}

/** Whatever a browser would load or run. */
function referencesOf(page: string): string[] {
  const { document } = parseHTML(page);
  const found: string[] = [];
  for (const element of document.querySelectorAll("*")) {
    if (["SCRIPT", "LINK", "IMG", "IFRAME", "OBJECT", "IMAGE", "USE"].includes(element.tagName.toUpperCase()))
      found.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || name === "src" || name === "srcset" || name === "style")
        found.push(`${name}=${value}`);
      if ((name === "href" || name === "xlink:href") && !value.startsWith("#")) found.push(`${name}=${value}`);
    }
  }
  for (const style of document.querySelectorAll("style"))
    if (/url\(|@import/.test(style.textContent)) found.push("style");
  return found;
}

function headings(page: string): string[] {
  return [...page.matchAll(/<h2[^>]*>([^<]*)</g)].map(([, heading]) => heading);
}

/** Cells of the first table row that is headed so. */
function rowOf(document: ParsedPage, heading: string): string[] {
  const head = [...document.querySelectorAll("tr th[scope=row]")].find((th) => th.textContent === heading);
  return [...(head?.parentElement.querySelectorAll("td") ?? [])].map((td) => td.textContent.replaceAll("\u00a0", " "));
}
