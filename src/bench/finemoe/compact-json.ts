/** Results as JSON files that people can read and version control can compare: indented, but a list of numbers is one line. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";

export function compactJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /\[\s+(-?[\d.eE+-]+(?:,\s+-?[\d.eE+-]+)*)\s+\]/g,
    (_, list: string) => `[${list.replace(/,\s+/g, ", ")}]`,
  );
}

/** A reader never sees half of the file. */
export function keepCompact(file: string, value: unknown): void {
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${compactJson(value)}\n`);
  renameSync(temporary, file);
}
