/** Opens the file in which hints are kept: a flash cache of a fixed size, shared by all models, whose keys never meet. */
import { openFlashCache } from "../cache/open-flash-cache.ts";
import type { ComparedStore } from "../compare/compared-store.ts";
import { type KeptBytes, KeptHints, type MergeHints } from "./kept-hints.ts";

/**
 * A hint of the demo model takes 170 bytes of a log, its key and head included (`bench/results/hint-stores.json`): this is 390,000
 * blocks, or 3 million tokens.
 */
const FILE_BYTES = 64 * 2 ** 20;

/** The databases are there to be compared with, if their packages are installed. */
export type HintEngine = "log" | "nemo" | "sqlite" | "lmdb";

/** Writes least and is simplest at what 64 MiB hold; nemo needs half the memory at a million records, and opens faster (`bench/results/hint-stores.json`). */
const DEFAULT_ENGINE: HintEngine = "log";

export interface OpenHintsOptions {
  /** Made when it does not exist; its directory must. */
  readonly path: string;
  readonly merge: MergeHints;
  /** To open a file again it has to be the same. @default "log" */
  readonly engine?: HintEngine | undefined;
  /** Likewise; of flash caches. @default 64 MiB */
  readonly sizeBytes?: number;
}

/** @throws FlashError as `openFlashCache`, MissingPackageError for a database whose package is not installed */
export async function openHints({ merge, ...options }: OpenHintsOptions): Promise<KeptHints> {
  return new KeptHints(await openKeptBytes(options), merge);
}

async function openKeptBytes(options: Omit<OpenHintsOptions, "merge">): Promise<KeptBytes> {
  const { path, engine = DEFAULT_ENGINE, sizeBytes = FILE_BYTES } = options;
  switch (engine) {
    case "sqlite":
      return fromCompared(await (await import("../compare/sqlite-store.ts")).openSqliteStore(path));
    case "lmdb":
      return fromCompared(await (await import("../compare/lmdb-store.ts")).openLmdbStore(path));
    case "log":
    case "nemo":
      break;
    default:
      engine satisfies never;
  }
  const cache = await openFlashCache({ path, sizeBytes, engine });
  return {
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value),
    close: () => cache.close(),
    ramBytes() {
      const { ramBytes, engine: own } = cache.stats();
      return ramBytes.objects + own.ram.index + own.ram.buffers + own.ram.hotness;
    },
    readOnly: () => cache.stats().engine.readOnly,
  };
}

/** What a database keeps in RAM is not told by it; the process's resident set is. */
function fromCompared(store: ComparedStore): KeptBytes {
  return {
    get: async (key) => (await store.getMany([key]))[0],
    set: (key, value) => store.putMany([[key, value]]),
    close: () => store.close(),
    ramBytes: () => 0,
    readOnly: () => undefined,
  };
}
