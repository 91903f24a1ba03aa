/**
 * A byte that a process shares with the one that runs its model: non-zero asks that one to give up what it computes. Not a
 * message, because nobody looks at messages while a graph is computed.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** Descriptor under which the model's process finds the file. */
export const ABORT_DESCRIPTOR = 4;

/** A file of one page that both processes map or write; it has no name any more, so nothing is left behind. */
export function openAbortFile(): number {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "warmset-"));
  const file = path.join(folder, "abort");
  const descriptor = fs.openSync(file, "wx+", 0o600);
  fs.ftruncateSync(descriptor, 65536);
  fs.unlinkSync(file);
  fs.rmdirSync(folder);
  return descriptor;
}

export function writeAbort(descriptor: number, value: 0 | 1): void {
  fs.writeSync(descriptor, Uint8Array.of(value), 0, 1, 0);
}
