/** An engine of ours on a file, for comparison: no RAM in front and no admission, so that it is the engine that is measured. */
import { openFlashCache } from "../cache/open-flash-cache.ts";
import { allocatedBytes } from "./allocated-bytes.ts";
import type { ComparedStore } from "./compared-store.ts";

export interface EngineStoreOptions {
  readonly engine: "log" | "nemo" | "set";
  /** Of the file, which is allocated at once; a larger amount of values evicts the oldest. */
  readonly sizeBytes: number;
}

const DURABILITY = {
  log: "up to 2 MiB that are still gathered are lost with a kill or with power",
  nemo: "what is in the set groups in RAM is lost with a kill or with power",
  set: "a kill loses nothing, a loss of power what the drive had not written",
} as const;

/** @throws FlashError */
export async function openEngineStore(path: string, { engine, sizeBytes }: EngineStoreOptions): Promise<ComparedStore> {
  const cache = await openFlashCache({ path, sizeBytes, engine });
  return {
    name: engine,
    durability: DURABILITY[engine],
    getMany: (keys) => cache.getMany(keys),
    async putMany(entries) {
      await Promise.all(entries.map(([key, value]) => cache.set(key, value)));
    },
    flush: () => cache.flush(),
    close: () => cache.close(),
    bytesOnDisk: () => allocatedBytes(path),
  };
}
