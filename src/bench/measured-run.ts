/**
 * One run of one contender under conditions that are the same for all: a cold page cache, a memory cgroup of its own,
 * the device probed right before and after. Whatever goes wrong with it is an outcome like others, so that one failure
 * does not end a bench of many runs.
 */
import { freemem } from "node:os";
import type { ContenderJob } from "./contender-protocol.ts";
import type { DeviceFigures, DeviceProber } from "./device-figures.ts";
import { createMemoryCgroup } from "./memory-cgroup.ts";
import { MemoryRegion } from "./memory-region.ts";
import { type CacheDrop, dropPageCache } from "./page-cache.ts";
import { type ContenderOutcome, runContender } from "./run-contender.ts";

export interface MeasuredRun {
  readonly outcome: ContenderOutcome;
  /** Right before and right after the run; empty where the device was not asked. */
  readonly probes: readonly DeviceFigures[];
}

export interface MeasureOptions {
  readonly modelPath: string;
  readonly memoryBytes: number;
  /** The job under the limit that the kernel really holds, which is `memoryBytes` in whole pages. */
  readonly job: (memoryBytes: number) => ContenderJob;
  /** @default the device is not asked */
  readonly prober?: DeviceProber | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was done to make runs comparable, as far as the system permits; the last run's. */
export class RunConditions {
  #limit = "";
  #cacheDrop: CacheDrop = "everything";

  /** Rejects only when aborted. */
  async measure(options: MeasureOptions): Promise<MeasuredRun> {
    const { modelPath, memoryBytes, prober, signal, timeoutMs } = options;
    // Probes and cgroups hold the thread; here a signal that came meanwhile is heard.
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    const probes: DeviceFigures[] = [];
    const probe = () => {
      const figures = prober?.probe();
      if (figures !== undefined) probes.push(figures);
    };
    let outcome: ContenderOutcome;
    try {
      this.#cacheDrop = dropPageCache(modelPath);
      backMemory(memoryBytes);
      probe();
      const made = createMemoryCgroup(memoryBytes);
      this.#limit = made.made
        ? `cgroup v${made.cgroup.version}`
        : `only warmset's own budget was held (${made.reason})`;
      using cgroup = made.made ? made.cgroup : undefined;
      outcome = await runContender(options.job(cgroup?.limitBytes ?? memoryBytes), { cgroup, signal, timeoutMs });
    } catch (error) {
      signal?.throwIfAborted();
      outcome = { status: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
    probe();
    return { outcome, probes };
  }

  /** How memory was limited: the kernel's cgroup, or only our own budget, and why. */
  get memoryLimit(): string {
    return this.#limit;
  }

  get pageCache(): string {
    const what = this.#cacheDrop === "everything" ? "dropped" : "the model's pages dropped";
    return `${what} before each run, then memory of the limit's size touched and freed`;
  }
}

/**
 * A virtual machine gives free memory back to its host, which takes seconds per gigabyte to return it: first tokens came after
 * 1.6 s or after 5.3, by what had run before. So what a run may take is touched first, for every contender alike.
 */
export function backMemory(bytes: number): void {
  using region = new MemoryRegion(Math.min(bytes, Math.floor(freemem() * 0.8)), "huge");
  region.touch();
}

/** An outcome in one line, for whoever watches. */
export function describeOutcome(outcome: ContenderOutcome): string {
  if (outcome.status === "failed") return `failed: ${outcome.reason}`;
  if (outcome.status === "killed-by-limit") return "killed by the memory limit";
  const { tokensPerSecond, ttftMs, peakRssBytes } = outcome.run;
  const mebibytes = (peakRssBytes / 2 ** 20).toFixed(0);
  return `${tokensPerSecond.toFixed(2)} tok/s, first token after ${(ttftMs / 1000).toFixed(2)} s, peak RSS ${mebibytes} MiB`;
}
