/**
 * What this machine offers to warmset, found out by trying: nothing is changed, no file is written, a few hundred
 * milliseconds. Each check says what follows from it; `doctor.ts` prints them.
 */
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { blockDeviceOf, readAheadKb } from "../bench/block-device.ts";
import { automaticBudget } from "../engine/byte-size.ts";
import { memoryLimits } from "../engine/memory-limits.ts";
import { type Libraries, loadLibraries } from "../llama/index.ts";
import { createAio } from "../memory/aio.ts";
import { movePages, PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "../memory/libc.ts";
import { quickProbe } from "./disk-probe.ts";
import { UsageError } from "./failure.ts";
import { formatBytes, formatMs, formatRate } from "./format.ts";

export interface Check {
  /** Stable name for programs. */
  readonly id: string;
  readonly label: string;
  /** "ok"; "downgraded": works, but slower or less exactly; "failed": warmset cannot run. */
  readonly status: "ok" | "downgraded" | "failed";
  /** What was found, for people. */
  readonly found: string;
  /** What follows from it, one sentence; undefined when all is well. */
  readonly consequence: string | undefined;
  /** What was found, for programs. */
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** All checks, with `target` (a file that exists) for those of the drive. */
export function checkMachine(target: string): Check[] {
  const libraries = checkLibraries();
  if (process.platform !== "linux") return [checkSystem(), libraries];
  return [
    checkSystem(),
    libraries,
    checkMemory(),
    checkPageMoving(),
    checkDirectReads(target),
    checkAio(target),
    checkReadAhead(target),
    checkDrive(target),
  ];
}

/**
 * A file on the drive that is meant: the given file, or the first model of the given folder.
 * @throws UsageError when there is none
 */
export function probeTarget(given: string): string {
  const stat = statSync(given, { throwIfNoEntry: false });
  if (stat === undefined) throw new UsageError(`${given} does not exist. Give a model file or a folder with one.`);
  if (!stat.isDirectory()) return given;
  const model = readdirSync(given).find((name) => name.endsWith(".gguf"));
  if (model === undefined) throw new UsageError(`${given} has no .gguf file to try reads on. Give a model file.`);
  return path.join(given, model);
}

function checkSystem(): Check {
  const { platform, arch } = process;
  const linux = platform === "linux";
  return {
    id: "system",
    label: "system",
    status: linux ? "ok" : "failed",
    found: `${os.type()} ${os.release()} ${arch}, Node ${process.versions.node}, ${os.availableParallelism()} cores`,
    consequence: linux ? undefined : "warmset runs on Linux only; see docs/platforms.md.",
    data: { platform, arch, kernel: os.release(), node: process.versions.node, cores: os.availableParallelism() },
  };
}

function checkLibraries(): Check {
  const base = { id: "llama", label: "llama.cpp" };
  let libraries: Libraries;
  try {
    libraries = loadLibraries();
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return {
      ...base,
      status: "failed",
      found,
      consequence: "No model can be run.",
      data: { version: null, cpuVariant: null },
    };
  }
  const variant = loadedCpuVariant();
  return {
    ...base,
    status: "ok",
    found: `${libraries.version}${variant === null ? "" : `, code for ${variant}`}`,
    consequence: undefined,
    data: { version: libraries.version, cpuVariant: variant, directory: libraries.paths.directory },
  };
}

/** ggml picks one of its libraries by what the processor can do: `libggml-cpu-sapphirerapids.so`. */
function loadedCpuVariant(): string | null {
  const maps = "/proc/self/maps";
  const match = existsSync(maps)
    ? /libggml-cpu-([a-z0-9_.-]+?)\.(?:v[0-9][^/]*\.)?so/.exec(readFileSync(maps, "utf8"))
    : null;
  return match?.[1] ?? null;
}

function checkMemory(): Check {
  const { availableBytes, cgroup } = memoryLimits();
  const budget = automaticBudget();
  const limit = cgroup?.limitBytes;
  const group = cgroup === undefined ? "no cgroup" : `cgroup v${cgroup.version}`;
  return {
    id: "memory",
    label: "memory",
    status: "ok",
    found:
      `${formatBytes(availableBytes ?? 0)} available, ${group} ${limit === undefined ? "without a limit" : `limit ${formatBytes(limit)}`}; ` +
      `--memory auto is ${formatBytes(budget)}`,
    consequence: undefined,
    data: {
      availableBytes: availableBytes ?? null,
      totalBytes: os.totalmem(),
      cgroupVersion: cgroup?.version ?? null,
      cgroupLimitBytes: limit ?? null,
      automaticBudgetBytes: budget,
    },
  };
}

function checkPageMoving(): Check {
  const from = reserveMemory(PAGE_BYTES);
  const to = reserveMemory(PAGE_BYTES);
  new Uint8Array(viewMemory(from, PAGE_BYTES))[0] = 42;
  const works = movePages(from, to, PAGE_BYTES) && new Uint8Array(viewMemory(to, 1))[0] === 42;
  releaseMemory(from, PAGE_BYTES);
  releaseMemory(to, PAGE_BYTES);
  return {
    id: "pageMoving",
    label: "page moving",
    status: works ? "ok" : "downgraded",
    found: works ? "mremap moves pages" : "mremap without MREMAP_DONTUNMAP (Linux before 5.7)",
    consequence: works
      ? undefined
      : "Evicted pages go back to the kernel and are cleared again, which costs time per read.",
    data: { works },
  };
}

function checkDirectReads(target: string): Check {
  let works = true;
  try {
    closeSync(openSync(target, constants.O_RDONLY | constants.O_DIRECT));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    works = false;
  }
  return {
    id: "directReads",
    label: "direct reads",
    status: works ? "ok" : "downgraded",
    found: works ? "O_DIRECT works for this file" : "no O_DIRECT on this file system",
    consequence: works ? undefined : "Reads pass through the page cache: copied twice, and memory is used twice.",
    data: { works, file: target },
  };
}

function checkAio(target: string): Check {
  const fd = openSync(target, "r");
  let problem: string | undefined;
  try {
    createAio([{ path: target, fd }], () => {}).close();
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  } finally {
    closeSync(fd);
  }
  return {
    id: "aio",
    label: "async reads",
    status: problem === undefined ? "ok" : "downgraded",
    found: problem ?? "Linux AIO",
    consequence:
      problem === undefined ? undefined : "Experts are read by a pool of threads, which costs processor time.",
    data: { works: problem === undefined },
  };
}

function checkReadAhead(target: string): Check {
  const device = blockDeviceOf(target);
  const kb = readAheadKb(device);
  return {
    id: "readAhead",
    label: "block device",
    status: "ok",
    found:
      device === undefined
        ? "none below this file (network, memory)"
        : `${device.name}, read_ahead_kb ${kb ?? "unknown"}`,
    consequence: undefined,
    data: { device: device?.name ?? null, readAheadKb: kb ?? null },
  };
}

function checkDrive(target: string): Check {
  const base = { id: "drive", label: "drive" };
  const probe = quickProbe(target);
  if (probe.status === "impossible")
    return {
      ...base,
      status: "downgraded",
      found: `not measured: ${probe.reason}`,
      consequence: undefined,
      data: { bytesPerSecond: null },
    };
  const { bytesPerSecond, bytes, ms, requestBytes, depth } = probe.result;
  return {
    ...base,
    status: "ok",
    found: `${formatRate(bytesPerSecond)}: ${formatBytes(bytes)} of ${path.basename(target)} in ${formatMs(ms)}, ${depth} reads of ${formatBytes(requestBytes)} at once`,
    consequence: undefined,
    data: { bytesPerSecond, bytes, ms, requestBytes, depth },
  };
}
