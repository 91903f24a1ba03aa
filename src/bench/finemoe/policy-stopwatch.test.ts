import { expect, test } from "vitest";
import { NO_EXPERT } from "../../cache/shape.ts";
import { onDemand } from "../../policy/on-demand.ts";
import { PolicyStopwatch } from "./policy-stopwatch.ts";

function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test("the time inside a policy's calls is counted once, also where one calls another", () => {
  const policy = {
    ...onDemand(),
    prefetch() {
      busy(4);
      this.iteration();
      return NO_EXPERT;
    },
    iteration() {
      busy(6);
    },
  };
  const stopwatch = new PolicyStopwatch(policy);
  policy.prefetch();
  expect(stopwatch.ms).toBeGreaterThanOrEqual(10);
  expect(stopwatch.ms).toBeLessThan(16);
  const before = stopwatch.ms;
  busy(5);
  expect(stopwatch.ms).toBe(before);
});

test("a call that throws has ended all the same", () => {
  const policy = {
    ...onDemand(),
    iteration: () => {
      throw new Error("no");
    },
  };
  const stopwatch = new PolicyStopwatch(policy);
  expect(() => policy.iteration()).toThrow("no");
  policy.prefetch({} as never);
  expect(stopwatch.ms).toBeLessThan(5);
});
