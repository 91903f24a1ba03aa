/**
 * How much memory there is for this process: what the machine has left, and the limit of the cgroup (v1 or v2) it is in
 * or of one above it. Linux only; elsewhere nothing is known. It decides no budget.
 */
import fs from "node:fs";
import nodePath from "node:path";

export interface CgroupLimit {
  readonly version: 1 | 2;
  /** The folder whose limit is the smallest, or the process's own when there is no limit. */
  readonly folder: string;
  /** Undefined: no limit. */
  readonly limitBytes: number | undefined;
}

export interface MemoryLimits {
  /** MemAvailable of /proc/meminfo. */
  readonly availableBytes: number | undefined;
  /** Undefined where no memory cgroup is mounted. */
  readonly cgroup: CgroupLimit | undefined;
}

export function memoryLimits(): MemoryLimits {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readText("/proc/meminfo") ?? "");
  return { availableBytes: match === null ? undefined : Number(match[1]) * 1024, cgroup: cgroupLimit() };
}

/** cgroup v1 says "no limit" with a number near 2^63. */
const NO_LIMIT = 2 ** 60;

function cgroupLimit(): CgroupLimit | undefined {
  const memberships = (readText("/proc/self/cgroup") ?? "").split("\n").map((line) => line.split(":"));
  for (const mount of (readText("/proc/self/mountinfo") ?? "").split("\n")) {
    const [before, after] = mount.split(" - ");
    const [type, , superOptions = ""] = after?.split(" ") ?? [];
    const version =
      type === "cgroup2" ? 2 : type === "cgroup" && superOptions.split(",").includes("memory") ? 1 : undefined;
    if (version === undefined || before === undefined) continue;
    const [root = "/", point = ""] = before.split(" ").slice(3, 5);
    const own = memberships.find(([number, controllers = ""]) =>
      version === 2 ? number === "0" && controllers === "" : controllers.split(",").includes("memory"),
    );
    if (own === undefined) continue;
    const limit = smallestLimit(version, point, ownFolder(point, root, own.slice(2).join(":")));
    // A hybrid set-up has a cgroup2 mount without the memory controller; another mount has it then.
    if (limit !== undefined) return limit;
  }
  return undefined;
}

/** In a container the mount shows a part of the hierarchy only, while the membership may be told from its very top. */
function ownFolder(point: string, root: string, membership: string): string {
  const inside = nodePath.join(
    point,
    root !== "/" && membership.startsWith(root) ? membership.slice(root.length) : membership,
  );
  return fs.existsSync(inside) ? inside : point;
}

function smallestLimit(version: 1 | 2, point: string, own: string): CgroupLimit | undefined {
  const name = version === 1 ? "memory.limit_in_bytes" : "memory.max";
  let smallest: CgroupLimit | undefined;
  for (let folder = own; folder.startsWith(point); folder = nodePath.dirname(folder)) {
    const text = readText(nodePath.join(folder, name))?.trim();
    const bytes = Number(text);
    const limitBytes = text !== undefined && Number.isFinite(bytes) && bytes < NO_LIMIT ? bytes : undefined;
    // The root of cgroup v2 has no memory.max, only memory.stat tells that the controller is there.
    const controlled = text !== undefined || fs.existsSync(nodePath.join(folder, "memory.stat"));
    if (controlled && (smallest === undefined || (limitBytes ?? NO_LIMIT) < (smallest.limitBytes ?? NO_LIMIT)))
      smallest = { version, folder, limitBytes };
    if (folder === point || folder === "/") break;
  }
  return smallest;
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
