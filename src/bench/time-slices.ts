/**
 * Lets processes run in turns of a fraction of a second, one at a time, so that what the machine does besides (and a shared one
 * changes its speed by a fifth from second to second) meets all of them alike. They are stopped and woken by signals;
 * what they do is their business.
 */
const SLICE_MS = 200;

interface Turn {
  readonly pid: number;
  /** When it ran, [from, to), ms since 1970. */
  readonly slices: { readonly from: number; readonly to: number }[];
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>;
}

const now = () => performance.timeOrigin + performance.now();

export class TimeSlices {
  readonly #turns: Turn[] = [];

  /** Stops a process that has just begun; it runs when `run` gives it a turn. */
  add(pid: number, ended: Promise<unknown>): void {
    process.kill(pid, "SIGSTOP");
    this.#turns.push({ pid, slices: [], ended });
  }

  /** Turn by turn until all have ended, whatever ended them. */
  async run(): Promise<void> {
    const left = new Set(this.#turns);
    for (const turn of this.#turns) turn.ended.then(() => left.delete(turn));
    while (left.size > 0)
      for (const turn of [...left]) {
        if (!signal(turn.pid, "SIGCONT")) continue;
        const from = now();
        let timer: NodeJS.Timeout | undefined;
        const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, SLICE_MS)));
        await Promise.race([over, turn.ended]);
        clearTimeout(timer);
        signal(turn.pid, "SIGSTOP");
        turn.slices.push({ from, to: now() });
      }
  }

  /** How long a process ran between two moments, ms. */
  ranMs(pid: number, fromMs: number, toMs: number): number {
    const slices = this.#turns.find((turn) => turn.pid === pid)?.slices ?? [];
    return slices.reduce((sum, { from, to }) => sum + Math.max(0, Math.min(to, toMs) - Math.max(from, fromMs)), 0);
  }
}

/** False when the process is gone. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
