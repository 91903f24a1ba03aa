/**
 * What the kernel counted for this process so far. Linux only, like everything that is compared here.
 */
import { readFileSync } from "node:fs";

/** Bytes fetched from storage, page faults on mapped files and O_DIRECT reads included (proc_pid_io(5), read_bytes). */
export function bytesReadFromStorage(): number {
  const line = /^read_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"));
  if (line === null) throw new Error("The kernel does not account reads (CONFIG_TASK_IO_ACCOUNTING)");
  return Number(line[1]);
}

/** Largest resident set so far: anonymous memory and mapped file pages. */
export function peakRssBytes(): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  if (line === null) throw new Error("The kernel does not say VmHWM in /proc/self/status");
  return Number(line[1]) * 1024;
}

/** Resident set of another process at the moment. */
export function residentBytesOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  if (line === null) throw new Error(`The kernel does not say VmRSS in /proc/${pid}/status`);
  return Number(line[1]) * 1024;
}

export function majorFaults(): number {
  return process.resourceUsage().majorPageFault;
}
