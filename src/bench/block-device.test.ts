import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { type BlockDevice, blockDeviceOf, readAheadKb, setReadAhead } from "./block-device.ts";
import { dropPageCache } from "./page-cache.ts";

const here = fileURLToPath(import.meta.url);
const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-device-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("the device below a file is one that the kernel lists, with its own read-ahead", () => {
  const device = blockDeviceOf(here);
  if (device === undefined) return expect(existsSync(`/sys/dev/block`)).toBe(process.platform === "linux");
  expect(existsSync(`/sys/class/block/${device.name}`)).toBe(true);
  if (device.readAheadFile !== undefined) expect(readAheadKb(device)).toBeGreaterThanOrEqual(0);
});

test("a file without a block device below it has none", () => {
  if (process.platform === "linux") expect(blockDeviceOf("/proc/self/status")).toBeUndefined();
  expect(readAheadKb(undefined)).toBeUndefined();
  using setting = setReadAhead(undefined, 128);
  expect(setting.readAheadKb).toBeUndefined();
  expect(setting.problem).toMatch(/no block device/);
});

test("read-ahead is set for the run and put back", () => {
  // A plain file stands in for the kernel's, so that the machine's own setting is left alone.
  const readAheadFile = path.join(folder, "read_ahead_kb");
  writeFileSync(readAheadFile, "8192\n");
  const device: BlockDevice = { name: "fake", readAheadFile };
  {
    using setting = setReadAhead(device, 128);
    expect(setting).toMatchObject({ readAheadKb: 128, problem: undefined });
    expect(readFileSync(readAheadFile, "utf8")).toBe("128");
  }
  expect(readAheadKb(device)).toBe(8192);
});

test("a dropped file has to be read from the disk again", () => {
  if (process.platform !== "linux" || blockDeviceOf(folder) === undefined) return;
  const file = path.join(folder, "copy.gguf");
  copyFileSync(path.join(path.dirname(here), "../../models/demo-moe-q8_0.gguf"), file);
  readFileSync(file);
  expect(["everything", "file"]).toContain(dropPageCache(file));
  const before = readBytes();
  readFileSync(file);
  expect(readBytes() - before).toBeGreaterThan(30e6);
});

function readBytes(): number {
  return Number(/^read_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
}
