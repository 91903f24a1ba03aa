import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withVocabulary } from "../engine/open-vocabulary.ts";
import type { SessionOptions } from "../engine/options.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { policyByName } from "../policy/index.ts";
import type { BaseLogits } from "./base-logits.ts";
import type { CacheBias } from "./cache-bias.ts";
import { type ForcedRun, type ForcedText, measureDrift, recordBase } from "./measure-drift.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const COMMON: SessionOptions = { threads: 1, microBatchTokens: 8 };
const TEXTS: Readonly<Record<string, string>> = {
  prose:
    "Once upon a time there was a little fox who lived at the edge of the forest. Every morning she looked at the river " +
    "and asked how the water knew where to go, and why the birds were gone in winter. Nobody could tell her, not even the owl.",
  python:
    "def add(a, b):\n    return a + b\n\n\ndef mean(values):\n    total = 0\n    for value in values:\n        total += value\n" +
    "    return total / len(values)\n\n\nif __name__ == '__main__':\n    print(mean([1, 2, 3]))\n",
};

describe("on the demo model", () => {
  let texts: ForcedText[];
  let base: BaseLogits;
  let run: ForcedRun;
  let expertBytes = 0;

  beforeAll(async () => {
    expertBytes = readMoeLayout(openGguf(DEMO_MODEL)).expertBytesTotal;
    texts = withVocabulary(DEMO_MODEL, (vocabulary) =>
      Object.entries(TEXTS).map(([domain, text]) => ({
        domain,
        promptTokens: 8,
        tokens: [...vocabulary.tokenize(text, { addSpecial: false }).subarray(0, 48)],
      })),
    );
    ({ logits: base, run } = await recordBase(DEMO_MODEL, texts, COMMON));
  });
  afterAll(() => base[Symbol.dispose]());

  const measure = (share: number, cacheBias?: CacheBias) =>
    measureDrift(DEMO_MODEL, texts, base, {
      ...COMMON,
      memory: { kind: "experts", bytes: share * expertBytes },
      policy: policyByName("lru"),
      cacheBias,
    });

  test("a smaller cache changes nothing but the hits", async () => {
    expect(run).toMatchObject({ tokens: 2 * (48 - 8 - 1), hitRate: 1, bytesPerToken: 0 });
    expect(base.rows).toBe(run.tokens);
    const streamed = await measure(0.25);
    expect(streamed).toMatchObject({ tokens: run.tokens, maxKl: 0, top1Agreement: 1 });
    expect(streamed.perplexity).toBe(streamed.basePerplexity);
    expect(streamed.run.hitRate).toBeLessThan(0.9);
    expect(streamed.run.bytesPerToken).toBeCloseTo(streamed.run.missesPerToken * (expertBytes / 256), 3);
    expect(streamed.domains.map(({ domain, tokens }) => [domain, tokens])).toEqual([
      ["prose", 39],
      ["python", 39],
    ]);
  });

  test("a growing lambda saves bytes and moves the logits; prompts are left alone", async () => {
    const lambdas = [0, 0.05, 0.2, 0.4];
    const measured = [];
    for (const lambda of lambdas) measured.push(await measure(0.5, { rule: { kind: "prior", lambda } }));
    expect(measured[0].maxKl).toBe(0);
    for (const [i, { run: own, meanKl }] of measured.entries()) {
      expect(own.cacheBias).toMatchObject({ tokens: run.tokens, decisions: 8 * run.tokens, lambda: lambdas[i] });
      if (i === 0) continue;
      expect(own.missesPerToken).toBeLessThan(measured[i - 1].run.missesPerToken);
      expect(meanKl).toBeGreaterThan(measured[i - 1].meanKl);
      expect(own.cacheBias?.routeKlMean).toBeGreaterThan(measured[i - 1].run.cacheBias?.routeKlMean ?? 0);
    }
  });

  test("a bound on route KL is held", async () => {
    for (const routeKlBound of [0.002, 0.02]) {
      const { cacheBias } = (await measure(0.25, { rule: { kind: "prior", lambda: 0.2 }, routeKlBound })).run;
      expect(cacheBias?.routeKlMean).toBeLessThanOrEqual(routeKlBound);
      expect(cacheBias?.routeKlMean).toBeGreaterThan(0.3 * routeKlBound);
      expect(cacheBias?.swapsRefused).toBeGreaterThan(0);
    }
  });

  test("the cliff is guarded", async () => {
    await expect(measure(0.2, { rule: { kind: "prior", lambda: 0.4 } })).rejects.toThrow(/would ruin the output/);
  });

  test("a signal ends it", async () => {
    const stop = new AbortController();
    const options = { signal: stop.signal, onProgress: () => stop.abort(new Error("enough")) };
    await expect(recordBase(DEMO_MODEL, texts, COMMON, options)).rejects.toThrow("enough");
  });
});
