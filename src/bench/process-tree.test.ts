import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { ProcessTreeWatch } from "./process-tree.ts";

const HOLD = "const held = Buffer.alloc(64 * 2 ** 20, 1); setTimeout(() => process.exit(held[0] - 1), 700)";

test("sees what a process and its child hold together", async () => {
  const child = spawn(
    process.execPath,
    ["-e", `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(HOLD)}]); ${HOLD}`],
    { stdio: "ignore" },
  );
  using watch = new ProcessTreeWatch(child.pid ?? 0);
  expect(await once(child, "close")).toEqual([0, null]);
  const { peakResidentBytes, processPeakBytes } = watch.figures;
  expect(processPeakBytes).toHaveLength(2);
  for (const bytes of processPeakBytes) expect(bytes).toBeGreaterThan(64 * 2 ** 20);
  expect(peakResidentBytes).toBeGreaterThan(128 * 2 ** 20);
  expect(peakResidentBytes).toBeLessThanOrEqual(processPeakBytes.reduce((sum, bytes) => sum + bytes, 0));
});
