/**
 * Makes a run start cold: the page cache gives up its clean pages, the whole of it where that is permitted, else at
 * least those of the model file. It says which of the two happened; a result that hides it cannot be compared.
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { adviseFile, POSIX_FADV_DONTNEED } from "../memory/libc.ts";

/** `everything`: all clean pages of the machine; `file`: only those of the given file, unless another process maps it. */
export type CacheDrop = "everything" | "file";

/** Throws `SystemCallError` when not even the file's own pages can be dropped. */
export function dropPageCache(file: string): CacheDrop {
  // Dirty pages cannot be dropped: a model that was only just written would stay in memory.
  execFileSync("sync", [file]);
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "1");
    return "everything";
  } catch {
    const fd = openSync(file, "r");
    try {
      adviseFile(fd, 0, 0, POSIX_FADV_DONTNEED);
      return "file";
    } finally {
      closeSync(fd);
    }
  }
}
