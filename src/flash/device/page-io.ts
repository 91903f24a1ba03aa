/**
 * The seam between devices of pages and an open file: whole pages in and out at an offset, many at once. `aio-pages.ts` asks the
 * kernel's queue past the page cache, `thread-pages.ts` Node's threads. Neither knows zones or blocks.
 */

export interface PageIo {
  readonly name: "aio" | "threads";
  /**
   * Fills `into`, and gives it back. @param offset in the file, whole pages @param into whole pages, the device's until the promise
   * settles @throws FlashError `read-failed`
   */
  read(offset: number, into: Uint8Array): Promise<Uint8Array>;
  /** @param bytes whole pages, not to be changed until the promise settles @throws FlashError `read-only` */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Waits for what is under way. The file stays open. */
  close(): Promise<void>;
}

/** A file as far as reading and writing it goes. */
export interface PageFile {
  /** For messages. */
  readonly path: string;
  readonly fd: number;
}
