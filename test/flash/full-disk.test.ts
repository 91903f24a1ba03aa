/** Real files that take no more: a disk without space, a limit on file sizes, an end cut off. The cache goes on with what it has. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { keysFor, openSubject, type Subject } from "../../src/bench/flash-faults/subject.ts";
import { type FullDiskReport, type FullDiskUse, fill } from "../../src/bench/flash-faults/use-until-full.ts";
import { keyOf, versionOf, writtenValue } from "../../src/bench/flash-faults/written-values.ts";
import { DATA_OFFSET } from "../../src/flash/device/cache-file.ts";
import { PAGE_BYTES } from "../../src/flash/device/zone-device.ts";
import { FlashCache } from "../../src/flash/index.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "full-disk-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
let files = 0;
const newFile = () => path.join(folder, `file-${files++}`);

const FILE = { zones: 12, zoneBytes: 8 * PAGE_BYTES, direct: true, punchHoles: false } as const;
const SUBJECTS: Readonly<Record<string, Subject>> = {
  // Its checkpoint lies at the end of the file, which makes it read-only from the opening on.
  nemo: { ...FILE, engine: "nemo", options: { groupSetGroups: 3, checkpointZones: 1 } },
  "nemo without checkpoints": { ...FILE, engine: "nemo", options: { groupSetGroups: 3, checkpointZones: 0 } },
  log: { ...FILE, engine: "log", options: { bufferBytes: 2 * PAGE_BYTES } },
  set: { ...FILE, engine: "set" },
};
const FILE_BYTES = DATA_OFFSET + FILE.zones * FILE.zoneBytes;

const program = fileURLToPath(new URL("../../dist/bench/flash-faults/use-until-full.js", import.meta.url));
const run = (command: readonly string[], use: FullDiskUse): FullDiskReport => {
  const [first, ...more] = [...command, process.execPath, program, JSON.stringify(use)];
  const { status, stdout, stderr } = spawnSync(first, more, { encoding: "utf8", timeout: 30_000 });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as FullDiskReport;
};

/** A mount namespace of its own, which ends with the process. */
const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];
const mounting = (size: string) =>
  [
    "unshare",
    "--mount",
    ...asRoot,
    "sh",
    "-c",
    `mount -t tmpfs -o size=${size} tmpfs "$0" && exec "$@"`,
    folder,
  ] as const;
const works = (command: readonly string[]) => spawnSync(command[0], command.slice(1)).status === 0;
const mayMount = works([...mounting("1m"), "true"]);
const mayLimit = works(["prlimit", "--fsize=1000000", "true"]);

const opened = async (file: string, subject: Subject) => new FlashCache(await openSubject(file, subject));

/** Everything is right, and can be written again, once there is space. */
async function worksAgain(file: string, subject: Subject): Promise<void> {
  const cache = await opened(file, subject);
  expect(await askAll(cache, subject)).toBeGreaterThan(0);
  await writes(cache, 3);
  expect(cache.stats().engine.readOnly).toBeUndefined();
  await cache.close();
}

async function writes(cache: FlashCache, version: number): Promise<void> {
  expect(await cache.set(keyOf(1).bytes, writtenValue(1, version))).toBe(true);
  await cache.flush();
  expect(await cache.get(keyOf(1).bytes)).toEqual(Uint8Array.from(writtenValue(1, version)));
}

async function askAll(cache: FlashCache, subject: Subject): Promise<number> {
  let answers = 0;
  for (let key = 0; key < keysFor(subject); key++) {
    const value = await cache.get(keyOf(key).bytes);
    if (value === undefined) continue;
    if (versionOf(key, value) < 1) expect.fail(`key ${key} has bytes that were never put`);
    answers++;
  }
  return answers;
}

describe.each(Object.entries(SUBJECTS))("%s", (_, subject) => {
  // Skipped where a process may not mount a file system of its own.
  test.skipIf(!mayMount)("goes on read-only when the disk is full (ENOSPC)", () => {
    const size = `${Math.ceil((FILE_BYTES + 2 ** 20) / 2 ** 20)}m`;
    const report = run(mounting(size), { path: newFile(), subject, fillDisk: true });
    expect(report.readOnly).toContain("ENOSPC");
    expect(report.answered).toBeGreaterThan(10);
    expect(report.refused + report.thrown).toBeGreaterThan(100);
  });

  // Skipped where there is no prlimit (util-linux).
  test.skipIf(!mayLimit)(
    "goes on read-only past a limit on file sizes (EFBIG), and writes again without it",
    async () => {
      const file = newFile();
      await fill(file, subject);
      const limit = DATA_OFFSET + Math.floor(FILE.zones * 0.6) * FILE.zoneBytes;
      const report = run(["prlimit", `--fsize=${limit}`], { path: file, subject, fillDisk: false });
      expect(report.readOnly).toContain("EFBIG");
      expect(report.answered).toBeGreaterThan(20);
      expect(report.refused + report.thrown).toBeGreaterThan(100);
      await worksAgain(file, subject);
    },
  );

  test("misses what was cut off the file behind its back, and goes on", async () => {
    const file = newFile();
    await fill(file, subject);
    const cache = await opened(file, subject);
    const before = await askAll(cache, subject);
    fs.truncateSync(file, DATA_OFFSET + Math.floor(FILE.zones / 2) * FILE.zoneBytes);
    const after = await askAll(cache, subject);
    expect(after).toBeLessThan(before);
    expect(after).toBeGreaterThan(before / 5);
    expect(cache.stats().engine.readErrors).toBeGreaterThan(10);
    await writes(cache, 2);
    await cache.close();
    await worksAgain(file, subject);
  });
});
