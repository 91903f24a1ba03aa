import { expect, test } from "vitest";
import type { MemoryPlan } from "../engine/memory-plan.ts";
import { estimateReads } from "./read-estimate.ts";

const plan = { expertBudgetBytes: 25e6, expertBytesTotal: 100e6, tokenCycleBytes: 8e6, fits: false } as MemoryPlan;

test("the worst case reads a token cycle, chance the share that is missing", () => {
  expect(estimateReads(plan, { bytesPerSecond: 2e9, source: "given" })).toEqual({
    bottleneck: "reads",
    diskBytesPerSecond: 2e9,
    diskSource: "given",
    worstCase: { bytesPerToken: 8e6, msPerToken: 4 },
    withoutLocality: { bytesPerToken: 6e6, msPerToken: 3 },
  });
});

test("an unknown drive gives bytes but no times", () => {
  const { worstCase, diskSource } = estimateReads(plan, undefined);
  expect({ worstCase, diskSource }).toEqual({
    worstCase: { bytesPerToken: 8e6, msPerToken: null },
    diskSource: "unknown",
  });
});

test("nothing is read when everything fits", () => {
  const { bottleneck, worstCase } = estimateReads({ ...plan, fits: true }, undefined);
  expect({ bottleneck, bytes: worstCase.bytesPerToken }).toEqual({ bottleneck: "compute", bytes: 0 });
});
