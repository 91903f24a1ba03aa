/**
 * The block device that a file lies on and its read-ahead, which changes the kernel's paging of a mapped model by 10x
 * (8,192 KiB against 128 KiB) and therefore belongs to every result. Linux only; it neither reads the device nor
 * looks below a device-mapper volume, whose own queue is the one that counts.
 */
import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface BlockDevice {
  /** Kernel name, such as `vda` or `nvme0n1`. */
  readonly name: string;
  /** The setting's file; `undefined` when the device has none. */
  readonly readAheadFile: string | undefined;
}

/** The device below `file`, or `undefined` where there is none to name (tmpfs, network file systems, not Linux). */
export function blockDeviceOf(file: string): BlockDevice | undefined {
  if (process.platform !== "linux") return undefined;
  const number = deviceNumber(statSync(file).dev);
  const link = `/sys/dev/block/${number.major === 0 ? mountedDeviceNumber(file) : `${number.major}:${number.minor}`}`;
  if (!existsSync(link)) return undefined;
  let folder = realpathSync(link);
  // A partition has no queue of its own; its disk, one folder up, has.
  if (existsSync(path.join(folder, "partition"))) folder = path.dirname(folder);
  const readAheadFile = path.join(folder, "queue", "read_ahead_kb");
  return { name: path.basename(folder), readAheadFile: existsSync(readAheadFile) ? readAheadFile : undefined };
}

/** dev_t as the kernel's `new_encode_dev` packs it (include/linux/kdev_t.h). */
function deviceNumber(dev: number): { major: number; minor: number } {
  return { major: (dev >>> 8) & 0xfff, minor: (dev & 0xff) | ((dev >>> 12) & 0xfff00) };
}

/** btrfs and overlays give files a device number without a device: ask the mount table for what was mounted. */
function mountedDeviceNumber(file: string): string {
  const real = realpathSync(file);
  let best = { point: "", source: "" };
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [before, after] = line.split(" - ");
    if (after === undefined) continue;
    const point = before.split(" ")[4];
    if (point.length > best.point.length && `${real}/`.startsWith(point === "/" ? "/" : `${point}/`))
      best = { point, source: after.split(" ")[1] };
  }
  if (!best.source.startsWith("/dev/") || !existsSync(best.source)) return "none";
  const { major, minor } = deviceNumber(statSync(best.source).rdev);
  return `${major}:${minor}`;
}

/** read_ahead_kb of the device, or `undefined` when it has none. */
export function readAheadKb(device: BlockDevice | undefined): number | undefined {
  return device?.readAheadFile === undefined ? undefined : Number(readFileSync(device.readAheadFile, "utf8"));
}

export interface ReadAheadSetting extends Disposable {
  /** What is in force now, KiB; `undefined` when it cannot be read. */
  readonly readAheadKb: number | undefined;
  /** Why the wish was not granted. */
  readonly problem: string | undefined;
}

/** Sets read_ahead_kb until disposed or the process exits; where it may not be written, what is in force stays and `problem` says so. */
export function setReadAhead(device: BlockDevice | undefined, wantedKb: number): ReadAheadSetting {
  const before = readAheadKb(device);
  const file = device?.readAheadFile;
  if (before === undefined || file === undefined)
    return {
      readAheadKb: undefined,
      problem: "the file lies on no block device with a read-ahead",
      [Symbol.dispose]() {},
    };
  if (before === wantedKb) return { readAheadKb: before, problem: undefined, [Symbol.dispose]() {} };
  try {
    writeFileSync(file, String(wantedKb));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { readAheadKb: before, problem: `read_ahead_kb stays at ${before}: ${reason}`, [Symbol.dispose]() {} };
  }
  const restore = () => writeFileSync(file, String(before));
  process.once("exit", restore);
  return {
    readAheadKb: wantedKb,
    problem: undefined,
    [Symbol.dispose]() {
      process.removeListener("exit", restore);
      restore();
    },
  };
}
