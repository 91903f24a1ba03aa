/** A file on the command line that may have a label in front: `label=file`. */
import { existsSync } from "node:fs";

export interface LabelledFile {
  readonly path: string;
  readonly label?: string;
}

/** A file whose own name has an equals sign needs no label. */
export function labelledFile(given: string): LabelledFile {
  const equals = existsSync(given) ? -1 : given.indexOf("=");
  return equals <= 0 ? { path: given } : { path: given.slice(equals + 1), label: given.slice(0, equals) };
}
