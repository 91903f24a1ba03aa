import { expect, test } from "vitest";
import { runBenchChild } from "./run-child.ts";

const job = { system: "nobody" };

test("a program that fails says how, and one that cannot be started too", async () => {
  const failed = await runBenchChild("./contender.js", { job }, { nodeFlags: ["--no-such-flag"] });
  expect(failed).toMatchObject({ status: "failed", reason: expect.stringMatching(/exit code 9: .*bad option/s) });
  const missing = await runBenchChild("./contender.js", { job }, { nodeFlags: [], enter: () => ["/no/such/program"] });
  expect(missing).toMatchObject({ status: "failed", reason: expect.stringContaining("ENOENT") });
});

test("what is not a result is told as it is", async () => {
  const enter = () => ["/bin/echo", "hello"];
  const outcome = await runBenchChild("./contender.js", { job }, { nodeFlags: [], enter });
  expect(outcome).toMatchObject({ status: "failed", reason: expect.stringContaining("hello") });
});

test("a program that takes too long is killed and has failed", async () => {
  const enter = () => ["/bin/sleep", "60"];
  const started = performance.now();
  const outcome = await runBenchChild("./contender.js", { job }, { nodeFlags: [], enter, timeoutMs: 200 });
  expect(outcome).toEqual({ status: "failed", reason: "killed after 200 ms" });
  expect(performance.now() - started).toBeLessThan(10_000);
});
