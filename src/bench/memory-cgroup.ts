/**
 * A memory cgroup (v1 or v2) around one contender: the same limit for everybody, page cache included, no swap. It is
 * made before the process starts and removed afterwards, also when the bench is interrupted. Where the right to make
 * one is missing, `createMemoryCgroup` returns the reason, and the bench says that only our own budget was held.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface CgroupFigures {
  /** Highest usage that the kernel charged: anonymous memory, page cache and kernel memory; `undefined` before 5.19. */
  readonly peakBytes: number | undefined;
  /** Anonymous memory at the moment. */
  readonly anonymousBytes: number;
  /** Processes that the kernel killed because the limit could not be held. */
  readonly oomKills: number;
}

export interface MemoryCgroup extends Disposable {
  readonly version: 1 | 2;
  readonly folder: string;
  /** The limit that the kernel holds: the asked one, rounded to pages. */
  readonly limitBytes: number;
  /**
   * The command line that runs `command` inside the group from its first instruction: a shell joins the group and
   * becomes the command, so that nothing is charged elsewhere before.
   */
  enter(command: readonly string[]): readonly string[];
  figures(): CgroupFigures;
}

export type CgroupResult =
  | { readonly made: true; readonly cgroup: MemoryCgroup }
  | { readonly made: false; readonly reason: string };

interface Hierarchy {
  readonly version: 1 | 2;
  /** Where this process is, and its ancestors: the nearest place first. */
  readonly parents: readonly string[];
}

const PREFIX = "warmset-bench-";

/** Makes a group with `limitBytes` of memory and no swap. Dispose it after the last process in it has ended. */
export function createMemoryCgroup(limitBytes: number): CgroupResult {
  const hierarchy = memoryHierarchy();
  if (hierarchy === undefined) return { made: false, reason: "no memory cgroup is mounted here" };
  let reason = "no place to make it";
  for (const parent of hierarchy.parents) {
    const folder = path.join(parent, `${PREFIX}${process.pid}-${nextNumber++}`);
    try {
      removeAbandoned(parent);
      if (hierarchy.version === 2) enableMemoryBelow(parent);
      mkdirSync(folder);
      try {
        const cgroup = new CgroupFolder(hierarchy.version, folder, limitBytes);
        return { made: true, cgroup };
      } catch (error) {
        rmdirSync(folder);
        throw error;
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  return { made: false, reason };
}

let nextNumber = 0;

class CgroupFolder implements MemoryCgroup {
  readonly version: 1 | 2;
  readonly folder: string;
  readonly limitBytes: number;
  readonly #removeAtExit = () => this[Symbol.dispose]();

  constructor(version: 1 | 2, folder: string, limitBytes: number) {
    this.version = version;
    this.folder = folder;
    const limitFile = version === 1 ? "memory.limit_in_bytes" : "memory.max";
    this.#write(limitFile, limitBytes);
    this.limitBytes = Number(this.#read(limitFile));
    // Kernels without swap accounting lack these files, and without swap there is nothing to forbid.
    if (version === 1) this.#writeIfThere("memory.memsw.limit_in_bytes", this.limitBytes);
    else this.#writeIfThere("memory.swap.max", 0);
    process.once("exit", this.#removeAtExit);
  }

  enter(command: readonly string[]): readonly string[] {
    const procs = path.join(this.folder, "cgroup.procs");
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', procs, ...command];
  }

  figures(): CgroupFigures {
    const v1 = this.version === 1;
    const peakFile = path.join(this.folder, v1 ? "memory.max_usage_in_bytes" : "memory.peak");
    return {
      peakBytes: existsSync(peakFile) ? Number(readFileSync(peakFile, "utf8")) : undefined,
      anonymousBytes: this.#keyed("memory.stat", v1 ? "total_rss" : "anon"),
      oomKills: this.#keyed(v1 ? "memory.oom_control" : "memory.events", "oom_kill"),
    };
  }

  /** Kills what is still inside and removes the group. */
  [Symbol.dispose](): void {
    process.removeListener("exit", this.#removeAtExit);
    if (!existsSync(this.folder)) return;
    for (const pid of this.#read("cgroup.procs").split("\n").filter(Boolean)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // It ended between the two calls.
      }
    }
    // The kernel refuses until the last process is gone, which a kill only asks for. The wait is synchronous because
    // this also runs while the process exits.
    for (let attempt = 0; ; attempt++) {
      try {
        rmdirSync(this.folder);
        return;
      } catch (error) {
        if (attempt === 200) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
    }
  }

  #read(file: string): string {
    return readFileSync(path.join(this.folder, file), "utf8");
  }

  #write(file: string, value: number): void {
    writeFileSync(path.join(this.folder, file), String(value));
  }

  #writeIfThere(file: string, value: number): void {
    if (existsSync(path.join(this.folder, file))) this.#write(file, value);
  }

  #keyed(file: string, key: string): number {
    const line = this.#read(file)
      .split("\n")
      .find((candidate) => candidate.startsWith(`${key} `));
    return line === undefined ? 0 : Number(line.split(" ")[1]);
  }
}

function memoryHierarchy(): Hierarchy | undefined {
  if (process.platform !== "linux") return undefined;
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter(Boolean);
  const own = readFileSync("/proc/self/cgroup", "utf8").split("\n").filter(Boolean);
  for (const version of [1, 2] as const) {
    // proc_pid_mountinfo(5): the file system type is the first word behind the dash, its options the third.
    const mount = mounts.find((line) => {
      const [type, , options = ""] = line.split(" - ")[1].split(" ");
      return version === 1 ? type === "cgroup" && options.split(",").includes("memory") : type === "cgroup2";
    });
    const membership = own.find((line) =>
      version === 1 ? line.split(":")[1].split(",").includes("memory") : line.startsWith("0::"),
    );
    if (mount === undefined || membership === undefined) continue;
    const [root, point] = mount.split(" ").slice(3, 5);
    if (version === 2 && !readFileSync(path.join(point, "cgroup.controllers"), "utf8").includes("memory")) continue;
    const where = membership.split(":").slice(2).join(":");
    const inside = path.join(point, where.startsWith(root) ? where.slice(root === "/" ? 0 : root.length) : where);
    return { version, parents: ancestors(existsSync(inside) ? inside : point, point) };
  }
  return undefined;
}

function ancestors(folder: string, top: string): string[] {
  const chain = [folder];
  while (chain[chain.length - 1] !== top && chain[chain.length - 1] !== "/")
    chain.push(path.dirname(chain[chain.length - 1]));
  return chain;
}

/** v2 hands a controller down only where the parent asks for it, and only if the parent holds no process itself. */
function enableMemoryBelow(parent: string): void {
  const control = path.join(parent, "cgroup.subtree_control");
  if (!readFileSync(control, "utf8").split(/\s+/).includes("memory")) writeFileSync(control, "+memory");
}

/** A bench that was killed outright leaves an empty group behind; the next one takes it away. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-\\d+$`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      rmdirSync(path.join(parent, name));
    } catch {
      // Its processes still run, or it belongs to somebody else: then it is not ours to remove.
    }
  }
}
