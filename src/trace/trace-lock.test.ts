import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { describeShape, PLAIN_SHAPE } from "./random-traces.test-data.ts";
import { openTrace } from "./trace-reader.ts";
import { createTrace, resumeTrace } from "./trace-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "trace-lock-"));
afterAll(() => rmSync(folder, { recursive: true }));

const description = describeShape(PLAIN_SHAPE);
let made = 0;
function directory(lock?: string): string {
  const path = join(folder, `trace-${made++}`);
  mkdirSync(path);
  if (lock !== undefined) writeFileSync(join(path, "trace.lock"), lock);
  return path;
}

const inUse = (pid: number) => ({
  name: "TraceError",
  kind: "in-use",
  message: expect.stringContaining(`process ${pid}`),
});

describe("a trace that is being written", () => {
  test("has no second writer until the first one has ended, either way", async () => {
    const path = directory();
    const first = await createTrace(path, description);
    await expect(createTrace(path, description)).rejects.toMatchObject(inUse(process.pid));
    await expect(resumeTrace(path, description)).rejects.toMatchObject(inUse(process.pid));
    await first[Symbol.asyncDispose]();
    const second = await resumeTrace(path, description);
    await expect(resumeTrace(path, description)).rejects.toMatchObject(inUse(process.pid));
    await second.finish();
    expect(readdirSync(path).sort()).toEqual(["routing", "tokens", "trace.json"]);
    expect((await openTrace(path)).unfinished).toBeUndefined();
  });

  test("by another process is left alone while that lives, and taken over when it has died", async () => {
    const path = directory();
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    const started = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")[19];
    writeFileSync(join(path, "trace.lock"), JSON.stringify({ pid: child.pid, started, id: "a" }));
    await expect(createTrace(path, description)).rejects.toMatchObject(inUse(child.pid!));
    expect(existsSync(join(path, "trace.json"))).toBe(false);
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill();
    await ended;
    await (await createTrace(path, description)).finish();
  });
});

describe("a lock that nobody holds", () => {
  test.each([
    ["of a process that is gone", JSON.stringify({ pid: 2 ** 22 + 5, started: "1", id: "a" })],
    ["of a process whose number another one has now", JSON.stringify({ pid: process.pid, started: "1", id: "a" })],
    ["without content, by a kill in that moment", ""],
    ["of something else", "locked by hand"],
  ])("%s is taken over", async (_, lock) => {
    const path = directory(lock);
    const writer = await createTrace(path, description);
    await writer.finish();
    expect(existsSync(join(path, "trace.lock"))).toBe(false);
  });

  test("is not left behind where no trace can be made or resumed", async () => {
    const finished = directory();
    await (await createTrace(finished, description)).finish();
    await expect(createTrace(finished, description)).rejects.toMatchObject({ kind: "exists" });
    await expect(resumeTrace(finished, description)).rejects.toMatchObject({ kind: "not-resumable" });
    const empty = directory();
    await expect(resumeTrace(empty, description)).rejects.toMatchObject({ kind: "not-a-trace" });
    for (const path of [finished, empty]) expect(existsSync(join(path, "trace.lock"))).toBe(false);
  });
});
