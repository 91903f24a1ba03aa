/**
 * What a command is doing, on stderr: on a terminal one line that is rewritten and erased, elsewhere a plain line now
 * and then. Short work shows nothing at all.
 */
import { formatBytes, formatMs, formatRate } from "./format.ts";

/** Work that is done sooner is not worth a line. */
const SILENT_MS = 400;
const TERMINAL_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 5000;
const BAR_CELLS = 20;

export interface StatusLineOptions {
  /** Show nothing. */
  readonly quiet: boolean;
  /** @default process.stderr */
  readonly stream?: NodeJS.WriteStream;
}

/** How amounts and rates are written. */
export interface ProgressUnits {
  readonly amount: (value: number) => string;
  readonly rate: (perSecond: number) => string;
}

/** For work on traces, which has many tokens a second. */
export const TOKENS: ProgressUnits = {
  amount: (tokens) => `${tokens.toLocaleString("en-US")} tokens`,
  rate: (perSecond) => `${Math.round(perSecond).toLocaleString("en-US")} tokens/s`,
};

const BYTES: ProgressUnits = { amount: formatBytes, rate: formatRate };

export class StatusLine implements Disposable {
  readonly #stream: NodeJS.WriteStream;
  readonly #quiet: boolean;
  /** When progress was first told, and what was done by then; undefined before. */
  #start: { readonly at: number; readonly done: number } | undefined;
  #shownAt = 0;
  #visible = false;
  #timer: NodeJS.Timeout | undefined;

  constructor({ quiet, stream = process.stderr }: StatusLineOptions) {
    this.#quiet = quiet;
    this.#stream = stream;
  }

  /** Progress of something whose size is known: a bar, the rate and the time that is left. */
  progress(label: string, done: number, total: number, units: ProgressUnits = BYTES): void {
    const now = performance.now();
    // Less than at first: another work with its own amounts has begun.
    if (this.#start === undefined || done < this.#start.done) this.#start = { at: now, done };
    const elapsedMs = now - this.#start.at;
    const interval = this.#stream.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS;
    if (this.#quiet || elapsedMs < SILENT_MS || now - this.#shownAt < interval) return;
    this.#shownAt = now;
    const share = done / total;
    const perMs = (done - this.#start.done) / elapsedMs;
    const filled = Math.round(share * BAR_CELLS);
    const bar = `[${"#".repeat(filled)}${".".repeat(BAR_CELLS - filled)}]`;
    const left = perMs > 0 ? `, ${formatMs((total - done) / perMs)} left` : "";
    const amount = `${units.amount(done)} of ${units.amount(total)}`;
    const rate = units.rate(1000 * perMs);
    if (this.#stream.isTTY) this.#rewrite(`${label} ${bar} ${amount}, ${rate}${left}`);
    else this.#stream.write(`${label}: ${Math.round(100 * share)} %, ${amount}, ${rate}${left}\n`);
  }

  /** Waiting for something of unknown length; only a terminal shows it, with the time it takes. */
  waiting(label: string): void {
    this.clear();
    if (this.#quiet || !this.#stream.isTTY) return;
    const startedAt = performance.now();
    this.#timer = setInterval(() => {
      this.#rewrite(`${label} ${formatMs(performance.now() - startedAt)}`);
    }, TERMINAL_INTERVAL_MS * 5);
    this.#timer.unref();
  }

  /** Erases the line; what is shown next starts anew. */
  clear(): void {
    clearInterval(this.#timer);
    if (this.#visible) this.#stream.write("\r\x1b[K");
    this.#visible = false;
    this.#start = undefined;
    this.#shownAt = 0;
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #rewrite(text: string): void {
    this.#visible = true;
    this.#stream.write(`\r\x1b[K${text.slice(0, (this.#stream.columns || 80) - 1)}`);
  }
}
