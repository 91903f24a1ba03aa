/** The other end of `run-child.ts`, in the process that it started. Both ways are synchronous: nothing else runs there. */
import { readFileSync, writeSync } from "node:fs";

/** What the bench sent. */
export function readMessage(): unknown {
  return JSON.parse(readFileSync(0, "utf8"));
}

export function writeResult(result: unknown): void {
  const line = Buffer.from(`${JSON.stringify(result)}\n`);
  for (let done = 0; done < line.length; ) done += writeSync(1, line, done);
}
