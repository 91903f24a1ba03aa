import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Prompt } from "./prompt.ts";
import { mixCounts, selectPrompts } from "./select-prompts.ts";
import { contentKey, splitOf } from "./split.ts";

const prompt = (content: string, domain = "prose"): Prompt => ({ id: content, domain, content });
const many = (count: number, domain = "prose") =>
  Array.from({ length: count }, (_, i) => prompt(`${domain} ${i}`, domain));
const idsOf = ({ prompts }: { readonly prompts: readonly Prompt[] }) => prompts.map(({ id }) => id);

describe("the split", () => {
  test("has 70 % of many prompts on the side of training, or another share", () => {
    const share = (trainShare?: number) =>
      many(4000).filter((one) => splitOf(one, trainShare) === "train").length / 4000;
    expect(share()).toBeGreaterThan(0.67);
    expect(share()).toBeLessThan(0.73);
    expect(share(0.2)).toBeLessThan(0.24);
  });

  test("has equal prompts on one side, also as conversations, with other spaces, and when they are cut", () => {
    const beginning = "A beginning of more than sixty-four characters that many prompts of a data set share: ";
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string({ minLength: 1 }), (one, other, text) => {
        expect(splitOf(prompt(beginning + one))).toBe(splitOf(prompt(beginning + other)));
        const chat = { ...prompt(""), content: [{ role: "user" as const, content: ` ${text}\n` }] };
        expect(splitOf(chat)).toBe(splitOf(prompt(text)));
      }),
    );
  });

  test("refuses shares that leave a side empty", () => {
    for (const share of [0, 1, Number.NaN]) expect(() => splitOf(prompt("a"), share)).toThrow("between 0 and 1");
  });

  test("leaves no content on both sides, and all on one", async () => {
    const all = [...many(200), ...many(200, "code"), ...many(50)];
    const train = await selectPrompts(all, { split: "train" });
    const test = await selectPrompts(all, { split: "test" });
    const sides = [train, test].map(({ prompts }) => new Set(prompts.map(contentKey)));
    expect([...sides[0]].filter((content) => sides[1].has(content))).toEqual([]);
    expect(sides[0].size + sides[1].size).toBe(400);
    expect(train.read).toBe(450);
    expect(train.ofSplit + test.ofSplit).toBe(450);
    expect(sides[1].size).toBeGreaterThan(80);
  });
});

describe("a draw", () => {
  test("is the same whatever the order, never twice the same, and grows by adding", async () => {
    const pool = [...many(300), ...many(100)];
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(pool, { minLength: 400 }),
        fc.integer({ min: 1, max: 60 }),
        async (all, n) => {
          const ids = idsOf(await selectPrompts(all, { requests: n, seed: 3 }));
          expect(ids).toEqual(idsOf(await selectPrompts(pool, { requests: n, seed: 3 })));
          expect(new Set(ids).size).toBe(n);
          expect(idsOf(await selectPrompts(pool, { requests: n + 5, seed: 3 })).slice(0, n)).toEqual(ids);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("depends on its seed, and takes all alike", async () => {
    const draws = await Promise.all([0, 1].map((seed) => selectPrompts(many(500), { requests: 20, seed })));
    expect(idsOf(draws[0])).not.toEqual(idsOf(draws[1]));
    const counts = new Array(10).fill(0);
    for (let seed = 0; seed < 300; seed++)
      for (const id of idsOf(await selectPrompts(many(10), { requests: 3, seed }))) counts[Number(id.split(" ")[1])]++;
    // 90 each, with a deviation of 8.
    for (const count of counts) expect(Math.abs(count - 90)).toBeLessThan(40);
  });

  test("has the shares of its mix, and mixes them", async () => {
    const all = [...many(100), ...many(100, "code"), ...many(100, "math")];
    const { prompts } = await selectPrompts(all, { requests: 30, mix: { prose: 2, code: 1, math: 0 } });
    const domains = prompts.map(({ domain }) => domain);
    expect(domains.filter((domain) => domain === "prose")).toHaveLength(20);
    expect(domains.filter((domain) => domain === "code")).toHaveLength(10);
    expect(domains.slice(0, 20)).toContain("code");
  });

  test("is in the order of arrival where there is one", async () => {
    const all = many(20).map((one, i) => ({ ...one, arrivalMs: 1000 - i }));
    expect(idsOf(await selectPrompts(all))).toEqual(all.map(({ id }) => id).reverse());
  });

  test.each([
    ["more than there are", { requests: 11 }, "10 different prompts, but 11"],
    ["more of a domain", { requests: 12, mix: { prose: 1 } }, "12 prompts of prose, but there are 10"],
    ["a domain that is not there", { requests: 4, mix: { prose: 1, poem: 1 } }, "There are: prose."],
    ["a mix without a number", { mix: { prose: 1 } }, "needs the number"],
    ["weights below 0", { requests: 2, mix: { prose: -1, code: 2 } }, "weights"],
    ["no weights", { requests: 2, mix: {} }, "weights"],
    ["half a request", { requests: 0.5 }, "whole number"],
  ])("of %s is refused", async (_, options, message) => {
    await expect(selectPrompts(many(10), options)).rejects.toMatchObject({
      name: "WorkloadError",
      message: expect.stringContaining(message),
    });
  });
});

test("a mix's counts sum to the requests and are off its shares by less than one", () => {
  const mix = fc.dictionary(fc.string(), fc.double({ min: 0, max: 100, noNaN: true }), { minKeys: 1 });
  fc.assert(
    fc.property(mix, fc.integer({ min: 1, max: 1000 }), (weights, requests) => {
      const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
      fc.pre(sum > 1e-6);
      const counts = mixCounts(weights, requests);
      expect([...counts.values()].reduce((total, count) => total + count, 0)).toBe(requests);
      for (const [domain, count] of counts)
        expect(Math.abs(count - (weights[domain] / sum) * requests)).toBeLessThan(1 + 1e-9);
    }),
  );
});
