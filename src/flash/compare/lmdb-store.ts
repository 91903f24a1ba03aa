/** LMDB for comparison: a memory-mapped B+tree through the package `lmdb`, bytes as keys and values, no compression. */
import { allocatedBytes } from "./allocated-bytes.ts";
import { type ComparedStore, optionalPackage } from "./compared-store.ts";

interface Database {
  getBinary(key: Uint8Array): Uint8Array | undefined;
  put(key: Uint8Array, value: Uint8Array): Promise<boolean>;
  readonly flushed: Promise<boolean>;
  close(): Promise<void>;
}

interface Lmdb {
  open(options: {
    readonly path: string;
    readonly noSubdir: boolean;
    readonly keyEncoding: "binary";
    readonly encoding: "binary";
    readonly compression: boolean;
  }): Database;
}

/** Keys have 1 to 1,978 bytes. @throws MissingPackageError */
export async function openLmdbStore(path: string): Promise<ComparedStore> {
  const { open } = await optionalPackage<Lmdb>("lmdb");
  const database = open({ path, noSubdir: true, keyEncoding: "binary", encoding: "binary", compression: false });
  return {
    name: "LMDB (lmdb)",
    durability: "a kill loses nothing, a loss of power the transactions that were not synced yet",
    async getMany(keys) {
      return keys.map((key) => database.getBinary(key));
    },
    async putMany(entries) {
      // All puts of a turn of the event loop are one transaction.
      let last: Promise<boolean> | undefined;
      for (const [key, value] of entries) last = database.put(key, value);
      await last;
    },
    async flush() {
      await database.flushed;
    },
    close: () => database.close(),
    bytesOnDisk: () => allocatedBytes(path, `${path}-lock`),
  };
}
