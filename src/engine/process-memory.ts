/**
 * What the operating system says this process holds. Linux only in its details; elsewhere Node's own figure of the
 * resident set stands in, and peaks are called unmeasured.
 */
import fs from "node:fs";

export interface ProcessMemory {
  readonly residentBytes: number;
  /** Highest resident set so far; undefined where the system does not say. */
  readonly peakBytes: number | undefined;
}

export function processMemory(): ProcessMemory {
  if (process.platform !== "linux") return { residentBytes: process.memoryUsage.rss(), peakBytes: undefined };
  const status = fs.readFileSync("/proc/self/status", "latin1");
  const field = (name: string): number => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status);
    return match === null ? 0 : Number(match[1]) * 1024;
  };
  return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}
