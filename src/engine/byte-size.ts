/**
 * Sizes as people write them ("6GiB", "50%", "auto") turned into a budget in bytes. "auto" looks once at what the
 * machine or the cgroup has left; nothing is resized under way.
 */
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { memoryLimits } from "./memory-limits.ts";
import type { MemoryBudget } from "./options.ts";

export type MemoryOption = string | number;

/** A size that cannot be understood. */
export class ByteSizeError extends Error {
  override readonly name = "ByteSizeError";
  readonly text: string;

  constructor(text: string) {
    super(`"${text}" is not a size. Write it like 6GiB, 800MiB, 4GB, 50%, auto or all.`);
    this.text = text;
  }
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  m: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  g: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  t: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};

/** Bytes of "6GiB", "6GB", "6G" (= GiB), "1500" or "50%" (of `whole`). @throws ByteSizeError */
export function parseByteSize(text: string, whole: number): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z%]*)$/i.exec(text.trim());
  const unit = match?.[2]?.toLowerCase() ?? "";
  if (match === null) throw new ByteSizeError(text);
  const value = Number(match[1]);
  if (unit === "%") return Math.floor((value / 100) * whole);
  const factor = UNITS[unit];
  if (factor === undefined) throw new ByteSizeError(text);
  return Math.floor(value * factor);
}

/** The budget that the options ask for. @throws ByteSizeError, GgufError, UnsupportedModelError */
export function memoryBudget(
  path: string,
  options: { readonly memory?: MemoryOption; readonly expertMemory?: MemoryOption },
): MemoryBudget {
  if (options.expertMemory !== undefined) {
    const text = String(options.expertMemory);
    if (text === "all") return { kind: "all" };
    const whole = text.endsWith("%") ? readMoeLayout(openGguf(path)).expertBytesTotal : 0;
    return { kind: "experts", bytes: parseByteSize(text, whole) };
  }
  const text = String(options.memory ?? "auto");
  if (text === "all") return { kind: "all" };
  if (text === "auto") return { kind: "process", bytes: automaticBudget() };
  return { kind: "process", bytes: parseByteSize(text, text.endsWith("%") ? openGguf(path).fileBytes : 0) };
}

/** Share of what is available that is left to everything else on the machine. */
const AUTO_MARGIN = 0.1;

/** What this process may use: the cgroup's limit or MemAvailable, whichever is less, minus a margin. */
export function automaticBudget(): number {
  const { availableBytes, cgroup } = memoryLimits();
  const limits = [availableBytes, cgroup?.limitBytes].filter((bytes) => bytes !== undefined);
  return Math.floor(Math.min(...limits) * (1 - AUTO_MARGIN));
}
