/**
 * What a process and all that it starts hold and read, looked at many times a second from outside: for programs that are measured
 * as their users start them. Linux only. What comes and goes between two looks is not seen; kernel's own peaks are.
 */
import { readFileSync } from "node:fs";

export interface TreeFigures {
  /** Highest sum of all processes' resident sets at one moment; shared pages count once for each. */
  readonly peakResidentBytes: number;
  /** The kernel's own peak (VmHWM) of each process, in the order they were seen. */
  readonly processPeakBytes: readonly number[];
  /** Read from storage by all of them (proc_pid_io(5), read_bytes). */
  readonly readBytes: number;
}

const INTERVAL_MS = 50;

export class ProcessTreeWatch implements Disposable {
  readonly #root: number;
  readonly #timer: NodeJS.Timeout;
  readonly #peaks = new Map<number, number>();
  #peakResidentBytes = 0;
  #readBytes = 0;

  constructor(root: number) {
    this.#root = root;
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  get figures(): TreeFigures {
    return {
      peakResidentBytes: this.#peakResidentBytes,
      processPeakBytes: [...this.#peaks.values()],
      readBytes: this.#readBytes,
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    let resident = 0;
    let read = 0;
    for (const pid of processTree(this.#root)) {
      const status = readProcess(`/proc/${pid}/status`);
      resident += kilobytes(status, "VmRSS");
      this.#peaks.set(pid, Math.max(this.#peaks.get(pid) ?? 0, kilobytes(status, "VmHWM")));
      // What a child had read counts as its parent's once it was waited for: those that live have all of it, once.
      read += Number(/^read_bytes: (\d+)$/m.exec(readProcess(`/proc/${pid}/io`))?.[1] ?? 0);
    }
    this.#peakResidentBytes = Math.max(this.#peakResidentBytes, resident);
    this.#readBytes = Math.max(this.#readBytes, read);
  }
}

function processTree(root: number): number[] {
  const found = [root];
  for (let i = 0; i < found.length; i++)
    found.push(...readProcess(`/proc/${found[i]}/task/${found[i]}/children`).split(" ").filter(Boolean).map(Number));
  return found;
}

/** Empty when the process has ended. */
function readProcess(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}

function kilobytes(status: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status);
  return match === null ? 0 : 1024 * Number(match[1]);
}
