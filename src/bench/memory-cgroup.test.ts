import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { createMemoryCgroup, type MemoryCgroup } from "./memory-cgroup.ts";

const MIB = 2 ** 20;
const probe = createMemoryCgroup(64 * MIB);
if (probe.made) probe.cgroup[Symbol.dispose]();
/** Where this process may not make a cgroup, the reason is in the test's name. */
const cgroupTest = probe.made ? test : test.skip;
const why = probe.made ? "" : ` (skipped: ${probe.reason})`;

cgroupTest(`a process that stays under the limit ends well and its peak is known${why}`, () => {
  using cgroup = made(256 * MIB);
  expect(cgroup.limitBytes).toBe(256 * MIB);
  const { status, stdout } = run(cgroup, 100);
  expect(status).toBe(0);
  expect(stdout).toContain(cgroup.folder.split("/").at(-1));
  const { peakBytes, oomKills } = cgroup.figures();
  expect(oomKills).toBe(0);
  if (peakBytes !== undefined) {
    expect(peakBytes).toBeGreaterThan(100 * MIB);
    expect(peakBytes).toBeLessThanOrEqual(256 * MIB);
  }
});

cgroupTest(`a process beyond the limit is killed, and the kill is counted${why}`, () => {
  using cgroup = made(128 * MIB);
  const { signal } = run(cgroup, 300);
  expect(signal).toBe("SIGKILL");
  expect(cgroup.figures().oomKills).toBe(1);
});

cgroupTest(`a cgroup is removed when it is disposed, with what is still inside${why}`, () => {
  const cgroup = made(64 * MIB);
  const [shell, ...args] = cgroup.enter(["/bin/sh", "-c", "sleep 60 & echo $!"]);
  // The sleeping grandchild holds no pipe of ours open.
  const { stdout } = spawnSync(shell, [...args.slice(0, -1), "sleep 60 >/dev/null 2>&1 & echo $!"], {
    encoding: "utf8",
  });
  const sleeper = Number(stdout);
  expect(existsSync(`/proc/${sleeper}`)).toBe(true);
  cgroup[Symbol.dispose]();
  expect(existsSync(cgroup.folder)).toBe(false);
  cgroup[Symbol.dispose]();
});

function made(limitBytes: number): MemoryCgroup {
  const result = createMemoryCgroup(limitBytes);
  if (!result.made) throw new Error(result.reason);
  return result.cgroup;
}

/** A Node process in the cgroup that touches `mib` MiB and prints its memory cgroup. */
function run(cgroup: MemoryCgroup, mib: number) {
  const script = `
    const memory = Array.from({ length: ${mib} }, () => Buffer.alloc(${MIB}, 1));
    console.log(memory.length && require("node:fs").readFileSync("/proc/self/cgroup", "utf8"));`;
  const [file, ...args] = cgroup.enter([process.execPath, "-e", script]);
  return spawnSync(file, args, { encoding: "utf8" });
}
