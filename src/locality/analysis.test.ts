import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeSyntheticTrace, syntheticSamples } from "../bench/synthetic-trace.ts";
import { createTrace, DECODE, memoryTrace, openTrace, PREFILL, TraceError } from "../trace/index.ts";
import { analyzeLocality } from "./analysis.ts";
import { directoryOpener } from "./analysis-workers.ts";
import { hitCurve } from "./stack-curves.test-data.ts";
import { chooseExperts, madeTrace, randomNumbers, sequenceOf } from "./traces.test-data.ts";

const quick = { segmentLengths: [4, 16], bootstrapReplicas: 0 };

/** Several samples of each domain, all routed by one function. */
function samplesOf(
  domains: readonly string[],
  each: number,
  route: (domain: number, layer: number, position: number) => readonly number[],
  length = 64,
) {
  return Array.from({ length: each * domains.length }, (_, i) => {
    const domain = i % domains.length;
    return { domain: domains[domain], length, route: (layer: number, t: number) => route(domain, layer, t) };
  });
}

describe("routers with known answers", () => {
  test("one that only looks at the domain is perfectly consistent and perfectly specialised", async () => {
    const source = madeTrace({
      layers: 2,
      experts: 12,
      expertsUsed: 2,
      samples: samplesOf(["code", "prose", "maths"], 4, (domain, layer) => [domain * 4 + layer, domain * 4 + 2]),
    });
    const { phases } = await analyzeLocality(source, quick);
    const [{ srp, domains, load, reuse, correlations }] = phases;
    for (const { model, layers, domains: byDomain } of srp) {
      expect(model).toMatchObject({ srp: 1, idealCacheRatio: 1 });
      expect(model?.srpIid).toBeLessThan(0.7);
      expect(layers.map(({ srp: value }) => value)).toEqual([1, 1]);
      expect(byDomain.map((domain) => domain?.model.srp)).toEqual([1, 1, 1]);
      // Inside a domain no memory is needed: which experts are used is known from their rates.
      expect(byDomain.map((domain) => domain?.model.srpIid)).toEqual([1, 1, 1]);
    }
    const largest = Math.sqrt(3);
    expect(domains.largestCv).toBe(largest);
    expect(domains.specialisation).toBeCloseTo(largest, 12);
    expect(domains.expertCv[0][0]).toBeCloseTo(largest, 12);
    expect(domains.expertCv[0][3]).toBeNull();
    expect(domains.activationTransfer[0][1]).toBeLessThan(0);
    expect(domains.activationTransfer[1][1]).toBe(1);
    expect(load.activationRate[0][0]).toBeCloseTo(1 / 3, 12);
    expect(load.unusedExperts).toBe(12);
    expect(reuse).toMatchObject({ overlap: 1, medianDistance: 1, firstUses: 12 * 2 * 2 });
    expect(correlations.srpDomainCv).toBeNull();
  });

  test("one that only looks at the token is perfectly specialised in words", async () => {
    const random = randomNumbers(4);
    const texts = Array.from({ length: 6 }, () => Array.from({ length: 80 }, () => Math.floor(12 * random())));
    const source = madeTrace({
      layers: 2,
      experts: 8,
      expertsUsed: 2,
      samples: texts.map((tokens) => ({
        length: 80,
        tokens: (t) => 100 + tokens[t],
        route: (layer, t) => [(tokens[t] + layer) % 4, 4 + (t % 4)],
      })),
    });
    const { phases } = await analyzeLocality(source, { ...quick, tokenText: (token) => `<${token}>` });
    const { kinds, tokens, smallestCount } = phases[0].vocabulary ?? expect.fail("no vocabulary");
    expect({ tokens, smallestCount }).toEqual({ tokens: 480, smallestCount: 20 });
    expect(kinds.map(({ kind }) => kind)).toEqual(["input", "next"]);
    const [input, next] = kinds;
    expect(input).toMatchObject({ vocabulary: 12, specialisation: 1 });
    expect(input.expertVs).toEqual([
      [1, 1, 1, 1, null, null, null, null],
      [1, 1, 1, 1, null, null, null, null],
    ]);
    // The next token is drawn anew, so nothing is known of it: four experts at random.
    expect(next.specialisation).toBeLessThan(0.5);
    expect(next.specialisation).toBeGreaterThan(0.25);
  });

  test("specialised experts are listed with their tokens", async () => {
    const source = madeTrace({
      experts: 4,
      expertsUsed: 1,
      samples: [{ length: 480, tokens: (t) => t % 24, route: (_, t) => [t % 24 < 6 ? 2 : t % 2] }],
    });
    const { phases } = await analyzeLocality(source, { ...quick, tokenText: (token) => `<${token}>` });
    const [first] = phases[0].vocabulary?.kinds[0].examples ?? [];
    expect(first).toMatchObject({ layer: 0, expert: 0, specialisation: 1, assigned: 9 });
    expect(first.tokens[0]).toEqual({ token: 6, text: "<6>", share: 1, occurrences: 20 });
  });

  test("one that looks at nothing gains nothing over its baseline", async () => {
    const random = randomNumbers(2);
    const source = madeTrace({
      experts: 16,
      expertsUsed: 2,
      samples: samplesOf(["a", "b"], 40, () => chooseExperts(16, 2, random), 512),
    });
    const { phases } = await analyzeLocality(source, { bootstrapReplicas: 0 });
    for (const { model } of phases[0].srp) {
      expect(model?.srpGain).toBeCloseTo(0, 1);
      expect(Math.abs((model?.srp ?? 0) - (model?.srpIid ?? 1))).toBeLessThan(0.01);
    }
    expect(phases[0].load.loadBalanceSd).toBeLessThan(0.005);
    expect(phases[0].domains.specialisation).toBeLessThan(0.05);
    expect(phases[0].reuse.overlap).toBeCloseTo(2 / 16, 2);
    expect(phases[0].verdict.suits).toBe("poorly");
  });
});

describe("levels", () => {
  const random = randomNumbers(6);
  const routing = Array.from({ length: 6 }, () =>
    Array.from({ length: 50 }, () => [0, 1].map(() => chooseExperts(8, 2, () => random() ** 2))),
  );
  const source = madeTrace({
    layers: 2,
    experts: 8,
    expertsUsed: 2,
    samples: routing.map((tokens, i) => ({
      domain: i < 4 ? "large" : "small",
      length: 50,
      route: (layer, t) => tokens[t][layer],
    })),
  });

  test("hit rates are means over domains, of layers one by one and of all", async () => {
    const { phases } = await analyzeLocality(source, quick);
    for (const { policy, segmentLength, layers, layerMean, domains } of [...phases[0].chr, ...phases[0].sch]) {
      const rate = (layer: number, from: number, to: number) => {
        const curves = routing.slice(from, to).map((tokens) =>
          hitCurve(
            sequenceOf(
              8,
              tokens.map((chosen) => chosen[layer]),
            ),
            policy === "sch" ? { sch: segmentLength ?? 0 } : policy,
          ),
        );
        return curves[0].map((_, i) => curves.reduce((sum, curve) => sum + curve[i], 0) / curves.length / 100);
      };
      for (const layer of [0, 1]) {
        const [large, small] = [rate(layer, 0, 4), rate(layer, 4, 6)];
        expect(layers[layer]).toEqual(large.map((value, i) => expect.closeTo((value + small[i]) / 2, 12)));
      }
      expect(layerMean).toEqual(layers[0].map((value, i) => expect.closeTo((value + layers[1][i]) / 2, 12)));
      expect(domains.map(({ domain }) => domain)).toEqual(["large", "small"]);
      expect(domains[1].layerMean[2]).toBeCloseTo((rate(0, 4, 6)[2] + rate(1, 4, 6)[2]) / 2, 12);
    }
  });

  test("over all layers LRU of ratio 1 is the mean of the layers' at k", async () => {
    const { phases, settings } = await analyzeLocality(source, { ...quick, cacheRatios: [1, 4] });
    const lru = phases[0].chr[0];
    expect(settings.headlineRatio).toBe(1);
    expect(lru.model[0]).toMatchObject({ cacheRatio: 1, cacheExperts: 4, cacheBytes: 4000 });
    expect(lru.model[0].hitRate).toBeCloseTo(lru.layerMean[1], 12);
    expect(lru.model[1].hitRate).toBe(1);
  });

  test("histograms of experts, layers and positions belong together", async () => {
    const [{ srp }] = (await analyzeLocality(source, quick)).phases;
    const [four] = srp;
    expect(four.windows).toBe(6 * 47);
    expect(four.positions).toHaveLength(47);
    expect(four.model?.activationRate).toBeCloseTo(2 / 8, 12);
    expect(four.layers).toHaveLength(2);
    expect(four.experts?.srp).toHaveLength(2);
    // Of the windows at one position the best threshold may be another, so positions do at least as well on average.
    const mean = four.positions.reduce((sum, value) => sum + value, 0) / 47;
    expect(mean).toBeGreaterThanOrEqual((four.model?.srp ?? 1) - 1e-3);
  });

  test("under layer/miss first uses are misses, and sizes are bytes", async () => {
    const { phases } = await analyzeLocality(source, { ...quick, convention: "layer/miss", cacheRatios: [0.5, 1, 4] });
    const [lru] = phases[0].chr;
    expect(lru.model.map(({ cacheBytes }) => cacheBytes)).toEqual([2000, 4000, 16000]);
    expect(lru.model[0].hitRate).toBe(0);
    expect(lru.model[1].hitRate).toBeCloseTo(((phases[0].reuse.overlap ?? 0) * 49) / 50, 2);
    expect(lru.model[2].hitRate).toBeLessThan(1);
    expect(lru.layerMean[7]).toBeLessThan(1);
  });
});

describe("phases and samples", () => {
  const phase = (t: number) => (t < 30 ? PREFILL : DECODE);
  const source = madeTrace({
    experts: 4,
    expertsUsed: 1,
    samples: [{ length: 100, phase, route: (_, t) => [t < 30 ? 0 : t % 4] }],
  });

  test("prefill and decode are reported apart, each on its own", async () => {
    const { phases } = await analyzeLocality(source, quick);
    expect(phases.map(({ phase: name, samples }) => [name, samples.tokens])).toEqual([
      ["prefill", 30],
      ["decode", 70],
    ]);
    expect(phases[0].srp[0].model?.srp).toBe(1);
    expect(phases[1].srp[0].model?.srp).toBeLessThan(0.5);
  });

  test("one phase alone, and both together", async () => {
    const names = async (wanted: "decode" | "all") =>
      (await analyzeLocality(source, { ...quick, phase: wanted })).phases.map(({ phase: name, samples }) => [
        name,
        samples.tokens,
      ]);
    expect(await names("decode")).toEqual([["decode", 70]]);
    expect(await names("all")).toEqual([["all", 100]]);
  });

  test("a phase that is not there is an error that says so", async () => {
    const decode = madeTrace({ experts: 4, expertsUsed: 1, samples: [{ length: 20, route: () => [1] }] });
    await expect(analyzeLocality(decode, { ...quick, phase: "prefill" })).rejects.toThrow(
      /no tokens of the phase prefill/,
    );
  });

  test("long samples are cut, and what is left over counts too", async () => {
    const { phases, settings } = await analyzeLocality(source, { ...quick, phase: "all", sampleLength: 32 });
    expect(phases[0].samples).toMatchObject({ samples: 4, tokens: 100, shortest: 4, longest: 32 });
    expect(settings.sampleLength).toBe(32);
  });

  test("samples too short for a segment have no SRP of it", async () => {
    const { phases } = await analyzeLocality(source, { segmentLengths: [16, 64], phase: "prefill" });
    expect(phases[0].srp[1]).toMatchObject({ windows: 0, model: null, layers: [], positions: [] });
    expect(phases[0].verdict.sentences.join(" ")).toMatch(/With one sample only/);
  });
});

describe("traces on a disk", () => {
  const shape = { layers: 3, experts: 16, expertsUsed: 2, sampleLength: 64, domains: 3 };
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "warmset-locality-"));
    // One sample a part, so that every worker gets some.
    await using writer = await createTrace(folder, describeSyntheticTrace(shape), { partBytes: 0 });
    for (const sample of syntheticSamples(40 * 64, shape)) {
      writer.beginSample(sample.domain);
      await writer.append(sample);
      await writer.endSample();
    }
    await writer.finish();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const options = { segmentLengths: [4, 16], bootstrapReplicas: 50 };

  test("whoever analyses it, the result is the same to the last digit", async () => {
    const source = await openTrace(folder);
    expect(source.parts.length).toBeGreaterThan(5);
    const alone = await analyzeLocality(source, options);
    const inMemory = await analyzeLocality(
      memoryTrace(describeSyntheticTrace(shape), [...syntheticSamples(40 * 64, shape)]),
      options,
    );
    expect(alone).toEqual(inMemory);
    for (const workers of [1, 2, 3])
      expect(await analyzeLocality(source, { ...options, workers, opener: directoryOpener(folder) })).toEqual(alone);
  });

  test("it tells how far it is, and stops when told to", async () => {
    const source = await openTrace(folder);
    const stop = new AbortController();
    const seen: number[] = [];
    const analysis = analyzeLocality(source, {
      ...options,
      workers: 2,
      opener: directoryOpener(folder),
      signal: stop.signal,
      onProgress: ({ doneTokens, totalTokens }) => {
        expect(totalTokens).toBe(40 * 64);
        seen.push(doneTokens);
        stop.abort(new Error("enough"));
      },
    });
    await expect(analysis).rejects.toThrow("enough");
    expect(seen[0]).toBeGreaterThan(0);
    const here = analyzeLocality(source, { ...options, signal: stop.signal });
    await expect(here).rejects.toThrow("enough");
  });

  test("an error in a worker arrives as what it is", async () => {
    const source = await openTrace(folder);
    const opener = { ...directoryOpener(path.join(folder, "nowhere")) };
    const failure = await analyzeLocality(source, { ...options, workers: 2, opener }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TraceError);
    expect(failure).toMatchObject({ name: "TraceError", kind: "not-a-trace" });
  });
});

describe("what cannot be analysed", () => {
  const make = (route: () => readonly number[]) =>
    madeTrace({ layers: 1, experts: 4, expertsUsed: 2, samples: [{ length: 20, route }] });

  test("rows that make no sense are named", async () => {
    await expect(
      analyzeLocality(
        make(() => [3, 3]),
        quick,
      ),
    ).rejects.toThrow(/sample 0, position 0, layer 0: expert 3 is listed twice/);
    await expect(
      analyzeLocality(
        make(() => [1, 4]),
        quick,
      ),
    ).rejects.toThrow(/expert 4, but the model has 4/);
  });

  test("more domains than memory allows", async () => {
    const samples = Array.from({ length: 130 }, (_, i) => ({ domain: `d${i}`, length: 20, route: () => [0] }));
    await expect(analyzeLocality(madeTrace({ experts: 4, expertsUsed: 1, samples }), quick)).rejects.toThrow(
      /more than 128 domains/,
    );
  });

  test.each([
    [{ segmentLengths: [0] }, "segmentLengths", /1 to 512 tokens .* not 0/],
    [{ segmentLengths: [] }, "segmentLengths", /at least one/],
    [{ segmentLengths: [600] }, "segmentLengths", /not 600/],
    [{ schSegmentLengths: [1.5] }, "schSegmentLengths", /not 1.5/],
    [{ cacheRatios: [2.5] }, "cacheRatios", /at most 2 here/],
    [{ cacheRatios: [0] }, "cacheRatios", /above 0/],
    [{ sampleLength: 1 }, "sampleLength", /not 1/],
    [{ sampleLength: 1e6 }, "sampleLength", /2 to 65536/],
  ])("options that make no sense: %j", async (options, option, message) => {
    const failure = analyzeLocality(
      make(() => [0, 1]),
      options,
    );
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toMatchObject({ name: "LocalityOptionError", option });
  });

  test("a trace without samples", async () => {
    await expect(analyzeLocality(madeTrace({ experts: 4, expertsUsed: 1, samples: [] }), quick)).rejects.toThrow(
      /no samples/,
    );
  });
});

test("copies of a sample change neither SRP nor hit rates", async () => {
  const random = randomNumbers(1);
  const tokens = Array.from({ length: 60 }, () => chooseExperts(8, 2, () => random() ** 2));
  const once = { length: 60, route: (_: number, t: number) => tokens[t] };
  const report = async (samples: readonly (typeof once)[]) => {
    const { phases } = await analyzeLocality(madeTrace({ experts: 8, expertsUsed: 2, samples }), quick);
    const [{ srp, chr, sch, load, reuse }] = phases;
    return {
      srp: srp.map(({ model }) => model),
      rates: [...chr, ...sch].map(({ model, layers }) => ({ model, layers })),
      load,
      overlap: reuse.overlap,
    };
  };
  expect(await report([once, once, once])).toEqual(await report([once]));
});
