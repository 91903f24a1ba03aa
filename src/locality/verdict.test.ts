import { expect, test } from "vitest";
import { analyzeLocality } from "./analysis.ts";
import { publishedRows } from "./published.ts";
import { chooseExperts, madeTrace, randomNumbers } from "./traces.test-data.ts";
import { kneeSize, suitability } from "./verdict.ts";

test("the knee is where the curve is farthest above chance", () => {
  expect(kneeSize([0.3, 0.6, 0.7, 0.75, 1], 5)).toBe(2);
  // By chance throughout: no size is better than another.
  expect(kneeSize([0.25, 0.5, 0.75, 1], 4)).toBe(1);
});

test("the limits part the published models as the paper's groups do", () => {
  const suits = publishedRows(64, 8).map(({ key, group, chr, experts, expertsUsed }) => {
    const lru = chr.find(({ policy }) => policy === "lru")?.points.find(({ cacheRatio }) => cacheRatio === 2);
    return { key, group, suits: suitability({ lru: lru?.hitRate ?? 0, chance: (2 * expertsUsed) / experts }) };
  });
  for (const row of suits) expect(row.suits === "well", row.key).toBe(row.group === 1);
  expect(
    suits
      .filter((row) => row.suits === "partly")
      .map(({ key }) => key)
      .sort(),
  ).toEqual(["deepseek", "deepseek2", "jamba", "minicpm", "mixtral", "nllb-d", "xverse"]);
});

/** Of every sample a tenth of the tokens goes anywhere, the others to the same few experts. */
function steadyTrace(steady: number, experts = 16) {
  const random = randomNumbers(12);
  return madeTrace({
    layers: 2,
    experts,
    expertsUsed: 2,
    samples: Array.from({ length: 24 }, (_, sample) => ({
      domain: ["a", "b"][sample % 2],
      length: 128,
      route: () => (random() < steady ? [sample % experts, (sample + 3) % experts] : chooseExperts(experts, 2, random)),
    })),
    expertBytes: [2 ** 20, 2 ** 20],
  });
}

test("a steady router suits offloading well, and the sentences say how large the cache should be", async () => {
  const { phases, settings } = await analyzeLocality(steadyTrace(0.9));
  const { verdict, samples } = phases[0];
  expect(verdict.suits).toBe("well");
  expect(verdict.headline).toMatch(/^made suits expert offloading well: with 4 experts per layer \(8\.00 MiB\) of 16/);
  expect(verdict.knee).toMatchObject({
    cacheExperts: expect.any(Number),
    cacheBytes: verdict.knee.cacheExperts * 2 ** 21,
  });
  expect(verdict.knee.chance).toBe(verdict.knee.cacheExperts / 16);
  expect(verdict.knee.belady).toBeGreaterThanOrEqual(verdict.knee.lru);
  expect(verdict.knee.sch).toBeGreaterThan(0);
  const text = verdict.sentences.join("\n");
  expect(text).toMatch(/sees 16 tokens ahead \(SCH\) hits \d+\.\d points more/);
  expect(text).toMatch(/gain over it is 0\.\d\d \(our measure\)/);
  expect(text).toMatch(/same share of their experts, nearest in SRP: [A-Z]/);
  expect(text).toMatch(/An expert's use varies over the 2 domains/);
  expect(text).toMatch(/24 samples of 128 tokens, convention token\/free/);
  expect(verdict.nearestPublished).toHaveLength(3);
  expect(samples.samples).toBe(24);
  expect(phases[0].srp[0].model?.interval).not.toBeNull();
  expect(settings.headlineSegment).toBe(16);
});

test("a router without memory suits it poorly", async () => {
  expect((await analyzeLocality(steadyTrace(0))).phases[0].verdict.suits).toBe("poorly");
});

test("without a published model of the same share the nearest are named", async () => {
  const { verdict } = (await analyzeLocality(steadyTrace(0.9, 20))).phases[0];
  expect(verdict.sentences.join("\n")).toMatch(/No published model uses the same share of its experts \(2 of 20\)/);
  expect(verdict.nearestPublished).toEqual([]);
});

test("short samples are no ground for a verdict, whatever LRU seems to hit", async () => {
  const random = randomNumbers(5);
  const short = (length: number) =>
    madeTrace({ experts: 64, expertsUsed: 8, samples: [{ length, route: () => chooseExperts(64, 8, random) }] });
  const { verdict, samples } = (await analyzeLocality(short(28))).phases[0];
  expect(verdict.suits).toBe("unknown");
  expect(verdict.headline).toMatch(
    /^Too little was measured to say whether made suits expert offloading: 28 tokens, and 2\d\.\d % of the expert uses/,
  );
  expect(samples.tokens).toBe(28);
  expect((await analyzeLocality(short(512))).phases[0].verdict.suits).toBe("poorly");
  // As consistent as can be, but a sentence.
  const steady = madeTrace({
    experts: 64,
    expertsUsed: 8,
    samples: [{ length: 60, route: () => [0, 1, 2, 3, 4, 5, 6, 7] }],
  });
  expect((await analyzeLocality(steady)).phases[0].verdict.suits).toBe("unknown");
});

test("a model that uses all of its experts has nothing to offload", async () => {
  const source = madeTrace({ experts: 1, expertsUsed: 1, samples: [{ length: 40, route: () => [0] }] });
  const { verdict } = (await analyzeLocality(source)).phases[0];
  expect(verdict.suits).toBe("unknown");
  expect(verdict.headline).toMatch(/nothing to offload/);
});
