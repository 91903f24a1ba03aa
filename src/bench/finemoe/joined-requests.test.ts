import { expect, test } from "vitest";
import { DECODE } from "../../trace/trace.ts";
import { EXPERTS, LAYERS, PROMPT, smallTrace, USED } from "./bench-rows.test-data.ts";
import { joinRequests } from "./joined-requests.ts";

const { description, samples, signals } = smallTrace(7, 6);
const requests = samples.map((sample, i) => ({ sample, signals: signals[i] }));

test("a batch of one is the request itself", () => {
  expect(joinRequests(description, requests, 1)).toBe(requests);
});

test("prompts come one after the other, then a token of each request that still has one in every step", () => {
  const [group, , last] = joinRequests(description, requests, 3);
  const { phases, batches, length } = group.sample;
  const own = samples.slice(0, 3);
  expect(length).toBe(own.reduce((sum, sample) => sum + sample.length, 0));
  expect(phases.indexOf(DECODE)).toBe(3 * PROMPT);
  const steps = new Map<number, number>();
  for (let i = 3 * PROMPT; i < length; i++) steps.set(batches[i], (steps.get(batches[i]) ?? 0) + 1);
  const lengths = own.map((sample) => sample.length - PROMPT);
  const expected = Array.from({ length: Math.max(...lengths) }, (_, step) => lengths.filter((n) => n > step).length);
  expect([...steps.values()]).toEqual(expected);
  expect(new Set(batches.subarray(0, 3 * PROMPT)).size).toBe(3);
  expect(last.sample.length).toBe(samples[6].length);
});

test("every token keeps its experts and distributions", () => {
  const [{ sample: joined }] = joinRequests(description, requests, 3);
  // The first step has one token of each request, in their order.
  for (const [i, sample] of samples.slice(0, 3).entries()) {
    const at = 3 * PROMPT + i;
    const used = LAYERS * USED;
    const all = LAYERS * EXPERTS;
    expect(joined.experts.slice(at * used, (at + 1) * used)).toEqual(
      sample.experts.slice(PROMPT * used, (PROMPT + 1) * used),
    );
    expect(joined.probs?.slice(at * all, (at + 1) * all)).toEqual(
      sample.probs?.slice(PROMPT * all, (PROMPT + 1) * all),
    );
    expect(joined.tokens?.[at]).toBe(sample.tokens?.[PROMPT]);
  }
});
