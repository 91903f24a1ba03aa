/** What files take on the disk. */
import { statSync } from "node:fs";

/** Unit of `stat.blocks`, whatever the file system's own. */
const STAT_BLOCK_BYTES = 512;

/** Of those that exist. */
export function allocatedBytes(...paths: readonly string[]): number {
  let bytes = 0;
  for (const path of paths) bytes += (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * STAT_BLOCK_BYTES;
  return bytes;
}
