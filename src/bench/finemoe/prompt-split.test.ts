import { expect, test } from "vitest";
import { smallTrace } from "./bench-rows.test-data.ts";
import { mixedOrder, promptTokens, splitByPrompt, takeRequests } from "./prompt-split.ts";

const { samples } = smallTrace(400, 4);

test("about three in ten prompts are held out, and none is on both sides", () => {
  const { train, test: held } = splitByPrompt(samples);
  expect(train.length + held.length).toBe(samples.length);
  expect(held.length / samples.length).toBeGreaterThan(0.22);
  expect(held.length / samples.length).toBeLessThan(0.38);
});

test("equal prompts fall on one side, whatever follows them and whatever number they have", () => {
  for (const sample of samples.slice(0, 40)) {
    const { train, test: held } = splitByPrompt([
      sample,
      {
        ...sample,
        sample: 9999,
        tokens: sample.tokens?.map((token, i) => (i < promptTokens(sample) ? token : token + 1)),
      },
    ]);
    expect([train.length, held.length]).toContain(2);
  }
});

test("the side of a prompt does not depend on the others", () => {
  const { test: all } = splitByPrompt(samples);
  const { test: reversed } = splitByPrompt([...samples].reverse());
  expect(new Set(reversed)).toEqual(new Set(all));
});

test("a short run takes from every domain", () => {
  const taken = takeRequests(samples, 6);
  expect(taken).toHaveLength(6);
  expect(new Set(taken.map(({ domain }) => domain)).size).toBe(4);
  expect(takeRequests(samples, 1000)).toBe(samples);
});

test("the mixed order has all requests, in another order than the trace", () => {
  const mixed = mixedOrder(samples);
  expect(new Set(mixed)).toEqual(new Set(samples));
  expect(mixed.map(({ sample }) => sample)).not.toEqual(samples.map(({ sample }) => sample));
  expect(mixedOrder(samples)).toEqual(mixed);
});
