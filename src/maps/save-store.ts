/** Keeps a store in a file. A reader never sees half of one: it is written beside, synced and renamed. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ExpertMapStore } from "./expert-map-store.ts";
import { decodeStore, type ExpectedStore, encodeStore } from "./store-bytes.ts";

/** Its folder is made when it is not there. Throws what the system throws. */
export function saveStore(file: string, store: ExpertMapStore): void {
  mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  const bytes = encodeStore(store);
  try {
    writeFileSync(temporary, bytes, { flush: true });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** @throws MapStoreFileError, and what the system throws */
export function loadStore(file: string, expected: ExpectedStore): ExpertMapStore {
  return decodeStore(readFileSync(file), expected, file);
}
