import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { LAYOUTS, type LayoutMessage, type LayoutRun } from "./process-layouts.ts";
import { runBenchChild } from "./run-child.ts";

const modelPath = fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url));

test.each(LAYOUTS)("$name tells its times and its memory", async ({ where, nodeFlags }) => {
  const message: LayoutMessage = { where, modelPath, threads: 1 };
  const outcome = await runBenchChild("./process-subject.js", message, { nodeFlags });
  if (outcome.status !== "finished") throw new Error(outcome.reason);
  const { firstMs, warmMs, againMs, residentBytes } = outcome.result as LayoutRun;
  for (const ms of [firstMs, warmMs, againMs]) expect(ms).toBeGreaterThan(0.01);
  expect(residentBytes.asker).toBeGreaterThan(20 * 2 ** 20);
  // What holds the model holds its 15 MB of weights too.
  if (where === "openModel") expect(residentBytes.model).toBeGreaterThan(residentBytes.asker);
  else expect(residentBytes.model).toBeUndefined();
});
