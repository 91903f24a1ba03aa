import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createMemoryCgroup } from "../bench/memory-cgroup.ts";
import { compiledModule } from "../compiled-module.ts";
import { type MemoryLimits, memoryLimits } from "./memory-limits.ts";

const LIMIT_BYTES = 200 * 2 ** 20;
const made = createMemoryCgroup(LIMIT_BYTES);
if (made.made) made.cgroup[Symbol.dispose]();

test("what the machine has left is a plausible number of bytes", () => {
  const { availableBytes } = memoryLimits();
  expect(availableBytes).toBeGreaterThan(2 ** 26);
});

test.skipIf(!made.made)("the limit of the process's cgroup is found", () => {
  const again = createMemoryCgroup(LIMIT_BYTES);
  if (!again.made) throw new Error(again.reason);
  using cgroup = again.cgroup;
  const url = compiledModule(import.meta.url, "./memory-limits.js");
  const program = `import { memoryLimits } from "${fileURLToPath(url)}"; console.log(JSON.stringify(memoryLimits()))`;
  const [file, ...args] = cgroup.enter([process.execPath, "--input-type=module", "-e", program]);
  const limits = JSON.parse(execFileSync(file, args, { encoding: "utf8" })) as MemoryLimits;
  expect(limits.cgroup).toMatchObject({ version: cgroup.version, limitBytes: LIMIT_BYTES });
});
