/**
 * What the programs of the bench do alike: they stop at a signal without leaving anything behind, say in one line why
 * they failed, and keep their result in a file that is never half written.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** SIGHUP: the terminal was closed. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** As shells count an end by Ctrl-C. */
const EXIT_INTERRUPTED = 130;

/**
 * Runs `main`. The first signal of the system fires its AbortSignal, so that it can put everything back; the second one
 * ends the process at once, which still kills children and removes cgroups, because those listen to the exit.
 */
export async function runBenchProgram(main: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const interrupted = new AbortController();
  for (const name of SIGNALS)
    process.on(name, () => {
      if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED);
      interrupted.abort(new Error(`Interrupted by ${name}`));
    });
  try {
    await main(interrupted.signal);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = interrupted.signal.aborted ? EXIT_INTERRUPTED : 1;
  }
}

export function progress(message: string): void {
  process.stderr.write(`${message}\n`);
}

/** Where the result of a bench is kept unless somebody wants it elsewhere. */
export function resultFile(name: string): string {
  return fileURLToPath(new URL(`../../bench/results/${name}.json`, import.meta.url));
}

export function keepResult(file: string, result: unknown, toJson = indentedJson): void {
  mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${toJson(result)}\n`);
  renameSync(temporary, file);
}

function indentedJson(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** The value of a flag that takes whole numbers of `least` or more. */
export function wholeNumber(flag: string, text: string, least = 0): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isInteger(number) || number < least)
    throw new Error(`${flag} takes whole numbers from ${least} on, not "${text}"`);
  return number;
}

/** The value of a flag that takes a share, between 0 and 1. */
export function properShare(flag: string, text: string): number {
  const share = Number(text);
  if (!(share > 0 && share < 1)) throw new Error(`${flag} takes numbers between 0 and 1, not "${text}"`);
  return share;
}

/** Columns of equal width, for terminals: the first one left-aligned, numbers right-aligned. */
export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return all
    .map((row) =>
      row.map((text, column) => (column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column]))).join("  "),
    )
    .join("\n");
}
