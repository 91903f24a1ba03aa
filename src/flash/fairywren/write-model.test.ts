import { expect, it } from "vitest";
import { logToSetWa, passiveLogToSetWa } from "./write-model.test-data.ts";

it("gives the published settings what the exact passive model says", () => {
  const objectBytes = 246;
  expect(passiveLogToSetWa({ objectBytes, logShare: 0.05, overprovisioning: 0.05 })).toBeCloseTo(8.66, 2);
  expect(passiveLogToSetWa({ objectBytes, logShare: 0.05, overprovisioning: 0.2 })).toBeCloseTo(7.95, 2);
  expect(passiveLogToSetWa({ objectBytes, logShare: 0.05, overprovisioning: 0.5 })).toBeCloseTo(6.05, 2);
  expect(passiveLogToSetWa({ objectBytes, logShare: 0.2, overprovisioning: 0.05 })).toBeCloseTo(3.09, 2);
});

it("is the passive model when cleaning rewrites nothing, and near the measured 14.2 at the published quarter", () => {
  const sizes = { objectBytes: 246, logShare: 0.05, overprovisioning: 0.05 };
  expect(logToSetWa(sizes, 1)).toBe(passiveLogToSetWa(sizes));
  expect(logToSetWa(sizes, 0.25)).toBeCloseTo(14.2, 0);
});
