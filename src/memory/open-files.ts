/**
 * Opens a model's files for direct reads and chooses the read engine that works here: AIO with O_DIRECT, else a pool of
 * reading threads. What was downgraded and why is part of the answer, to be shown to the user.
 */
import fs from "node:fs";
import { createAio } from "./aio.ts";
import { SystemCallError } from "./libc.ts";
import { createPreadPool } from "./pread-pool.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

export type IoChoice = "auto" | "direct" | "pread";

export interface OpenedFiles {
  readonly reads: ReadEngine;
  readonly descriptors: readonly number[];
  readonly direct: boolean;
  /** One sentence for each thing that is slower than it could be. */
  readonly downgrades: readonly string[];
  close(): void;
}

/** `io` "direct" and "auto" prefer O_DIRECT with AIO; "pread" uses the pool (for comparison). */
export function openFiles(paths: readonly string[], done: ReadDone, io: IoChoice = "auto"): OpenedFiles {
  const downgrades: string[] = [];
  const descriptors: number[] = [];
  let direct = process.platform === "linux";
  try {
    for (const path of paths) descriptors.push(openDirect(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") {
      for (const fd of descriptors) fs.closeSync(fd);
      throw error;
    }
    for (const fd of descriptors.splice(0)) fs.closeSync(fd);
    for (const path of paths) descriptors.push(fs.openSync(path, fs.constants.O_RDONLY));
    direct = false;
    downgrades.push("This file system has no direct reads (O_DIRECT), so reads pass through the page cache.");
  }
  const files = paths.map((path, i) => ({ path, fd: descriptors[i], buffered: !direct }));
  let reads: ReadEngine | undefined;
  if (direct && io !== "pread")
    try {
      reads = createAio(files, done);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      downgrades.push(`Linux AIO is not available here (${error.code}), so experts are read by a pool of threads.`);
    }
  reads ??= createPreadPool(files, done);
  const engine = reads;
  return {
    reads: engine,
    descriptors,
    direct,
    downgrades,
    close: () => {
      engine.close();
      for (const fd of descriptors) fs.closeSync(fd);
    },
  };
}

function openDirect(path: string): number {
  return fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_DIRECT ?? 0));
}
