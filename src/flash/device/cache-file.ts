/**
 * A file that holds a cache: made and preallocated, or recognised and never touched when it is something else; locked while it is
 * open. What its pages mean is the business of `FileZones` and `BlockFile`.
 */
import fs from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { allocate, HAS_FILE_CALLS, tryLock } from "../../memory/file-calls.ts";
import { SystemCallError } from "../../memory/libc.ts";
import { FlashError } from "../errors.ts";
import { createAioPages } from "./aio-pages.ts";
import { errnoOf, failedWrite } from "./io-errors.ts";
import type { PageIo } from "./page-io.ts";
import { decodeSuperblock, encodeSuperblock, MAX_LABEL_BYTES, type Superblock } from "./superblock.ts";
import { createThreadPages } from "./thread-pages.ts";
import { PAGE_BYTES } from "./zone-device.ts";

/** Where the first zone or block begins: at a whole MiB, as partitions do, so that zones lie on whole pages of the flash. */
export const DATA_OFFSET = 2 ** 20;
const ZEROS_BYTES = 2 ** 20;

export interface CacheFileOptions {
  /** Made when it does not exist or is empty. Its directory must exist. */
  readonly path: string;
  /**
   * What the application wants to find again, such as its parameters as JSON; at most 4,064 bytes of UTF-8. A file with another
   * label is refused.
   * @default whatever the file has; "" in a new one
   */
  readonly label?: string;
  /** Reads and writes past the page cache where the file system allows it. @default true */
  readonly direct?: boolean;
  /** Reads and writes of up to 16 KiB in flight at most. @default 256 */
  readonly inFlight?: number;
}

export interface CacheFile {
  readonly path: string;
  readonly label: string;
  /** False when the file was there before: what it holds may be of use. */
  readonly created: boolean;
  /** Past the page cache. */
  readonly direct: boolean;
  /** One sentence for each thing that is slower or less safe than it could be. */
  readonly downgrades: readonly string[];
  readonly io: PageIo;
  /** For calls on the file itself. */
  readonly fd: number;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** @throws FlashError `not-a-cache`, `other-parameters`, `in-use`, `read-only` (no space, no permission), `bad-options` */
export async function openCacheFile(
  shape: Omit<Superblock, "label">,
  { path: file, label, direct = true, inFlight = 256 }: CacheFileOptions,
): Promise<CacheFile> {
  if (Buffer.byteLength(label ?? "") > MAX_LABEL_BYTES)
    throw new FlashError("bad-options", `The label of ${file} has more than ${MAX_LABEL_BYTES} bytes.`);
  const downgrades: string[] = [];
  const { fd, isNew } = openOrMake(file);
  try {
    checkOrdinary(file, fd);
    lock(file, fd, downgrades);
    const { size } = fs.fstatSync(fd);
    const known = size === 0 ? undefined : checked(file, fd, shape, label);
    if (known === undefined) await writeSuperblock(file, fd, { ...shape, label: label ?? "" });
    const bytes = DATA_OFFSET + shape.units * shape.pagesPerUnit * PAGE_BYTES;
    // Also finishes what a process began that was killed here; what it had not come to reads as zeros.
    if (size < bytes) await preallocate(file, fd, bytes, known === undefined ? { isNew } : undefined);
    const pages = await openPages(file, fd, { direct, inFlight }, downgrades);
    return {
      path: file,
      label: known?.label ?? label ?? "",
      created: known === undefined,
      direct: pages.direct,
      downgrades,
      io: pages.io,
      fd,
      sync: () => sync(file, fd),
      close: async () => {
        await pages.close();
        fs.closeSync(fd);
      },
    };
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function openOrMake(file: string): { fd: number; isNew: boolean } {
  const { O_RDWR, O_CREAT, O_EXCL } = fs.constants;
  try {
    try {
      return { fd: fs.openSync(file, O_RDWR), isNew: false };
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      return { fd: fs.openSync(file, O_RDWR | O_CREAT | O_EXCL), isNew: true };
    }
  } catch (cause) {
    const code = codeOf(cause);
    if (code === "EISDIR") throw new FlashError("not-a-cache", `${file} is a directory.`, { cause });
    if (code === "ENOENT")
      throw new FlashError("bad-options", `There is no directory ${path.dirname(file)}.`, { cause });
    throw new FlashError("read-only", `${file} cannot be opened for writing: ${code}.`, { cause });
  }
}

function lock(file: string, fd: number, downgrades: string[]): void {
  if (!HAS_FILE_CALLS) {
    downgrades.push(`${file} is not locked on this system: a second process could open it too.`);
    return;
  }
  let locked = true;
  try {
    locked = tryLock(fd);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    downgrades.push(`${file} cannot be locked here (${error.code}): a second process could open it too.`);
  }
  if (!locked) throw new FlashError("in-use", `${file} is open already. Close it there first, or choose another file.`);
}

const NEVER = "It was left as it is; choose another file, or delete it yourself.";

function checkOrdinary(file: string, fd: number): void {
  if (!fs.fstatSync(fd).isFile()) throw new FlashError("not-a-cache", `${file} is no ordinary file. ${NEVER}`);
}

/** Reads the superblock and compares. Touches nothing. */
function checked(file: string, fd: number, shape: Omit<Superblock, "label">, label: string | undefined): Superblock {
  const page = new Uint8Array(PAGE_BYTES);
  let read: number;
  try {
    read = fs.readSync(fd, page, 0, PAGE_BYTES, 0);
  } catch (cause) {
    throw new FlashError("not-a-cache", `${file}: its first page cannot be read. ${NEVER}`, { cause });
  }
  const known = decodeSuperblock(page.subarray(0, read));
  if (typeof known === "string") throw new FlashError("not-a-cache", `${file} is no cache: ${known}. ${NEVER}`);
  const isOther = known.kind !== shape.kind || known.units !== shape.units || known.pagesPerUnit !== shape.pagesPerUnit;
  if (isOther)
    throw new FlashError(
      "other-parameters",
      `${file} was made with ${described(known)}, and is opened with ${described(shape)}. ${NEVER}`,
    );
  if (label !== undefined && known.label !== label)
    throw new FlashError(
      "other-parameters",
      `${file} was made with the parameters ${known.label || "(none)"}, and is opened with ${label || "(none)"}. ${NEVER}`,
    );
  return known;
}

function described({ kind, units, pagesPerUnit }: Omit<Superblock, "label">): string {
  return kind === "blocks" ? `${units} blocks` : `${units} zones of ${pagesPerUnit * PAGE_BYTES} bytes`;
}

/** Before the space is set aside: a file that was killed in between is still known as ours, whatever its length. */
async function writeSuperblock(file: string, fd: number, superblock: Superblock): Promise<void> {
  try {
    fs.writeSync(fd, encodeSuperblock(superblock), 0, PAGE_BYTES, 0);
    fs.fsyncSync(fd);
    const directory = await open(path.dirname(path.resolve(file)), "r");
    await directory.sync().finally(() => directory.close());
  } catch (cause) {
    throw new FlashError("read-only", `${file} cannot be written: ${codeOf(cause)}.`, { cause });
  }
}

/** @param fresh what was not there before is taken back when there is no space; undefined when the file held a cache */
async function preallocate(
  file: string,
  fd: number,
  bytes: number,
  fresh: { isNew: boolean } | undefined,
): Promise<void> {
  try {
    checkSpace(fd, file, bytes);
    if (!tryAllocate(fd, bytes)) await writeZeros(fd, bytes);
  } catch (cause) {
    if (fresh !== undefined) fs.ftruncateSync(fd, 0);
    if (fresh?.isNew === true) fs.unlinkSync(file);
    if (cause instanceof FlashError) throw cause;
    throw new FlashError("read-only", `${file} needs ${bytes} bytes on its disk: ${codeOf(cause)}.`, { cause });
  }
}

/** First, because fallocate takes all there is before it fails, and other programs would meet a full disk. */
function checkSpace(fd: number, file: string, bytes: number): void {
  const { bavail, bsize } = fs.statfsSync(file);
  const needed = bytes - fs.fstatSync(fd).blocks * 512;
  if (needed <= bavail * bsize) return;
  throw new FlashError(
    "read-only",
    `${file} needs ${needed} bytes more on its disk, which has ${bavail * bsize}: ENOSPC.`,
  );
}

/** False where the file system cannot set space aside. @throws SystemCallError ENOSPC and others */
function tryAllocate(fd: number, bytes: number): boolean {
  if (!HAS_FILE_CALLS) return false;
  try {
    allocate(fd, bytes);
    return true;
  } catch (error) {
    if (error instanceof SystemCallError && ["EOPNOTSUPP", "ENOTSUP", "ENOSYS"].includes(error.code)) return false;
    throw error;
  }
}

async function writeZeros(fd: number, bytes: number): Promise<void> {
  const zeros = new Uint8Array(ZEROS_BYTES);
  for (let at = fs.fstatSync(fd).size; at < bytes; ) {
    at += fs.writeSync(fd, zeros, 0, Math.min(ZEROS_BYTES, bytes - at), at);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface OpenPages {
  readonly io: PageIo;
  readonly direct: boolean;
  close(): Promise<void>;
}

async function openPages(
  file: string,
  fd: number,
  { direct, inFlight }: { direct: boolean; inFlight: number },
  downgrades: string[],
): Promise<OpenPages> {
  const directPages = direct ? await tryDirect(file, inFlight, downgrades) : undefined;
  if (directPages !== undefined) return directPages;
  const io = createThreadPages({ path: file, fd });
  return { io, direct: false, close: () => io.close() };
}

async function tryDirect(file: string, inFlight: number, downgrades: string[]): Promise<OpenPages | undefined> {
  const { O_RDWR, O_DIRECT } = fs.constants;
  const slower = `so ${file} is read and written through the page cache.`;
  if (O_DIRECT === undefined) {
    downgrades.push(`This system has no O_DIRECT, ${slower}`);
    return undefined;
  }
  let fd: number | undefined;
  let io: PageIo | undefined;
  try {
    fd = fs.openSync(file, O_RDWR | O_DIRECT);
    io = createAioPages({ path: file, fd }, { inFlight });
    // Some file systems open what they then refuse to read.
    await io.read(0, new Uint8Array(PAGE_BYTES));
  } catch (error) {
    await io?.close();
    if (fd !== undefined) fs.closeSync(fd);
    downgrades.push(`Direct reads do not work here (${codeOf(error)}), ${slower}`);
    return undefined;
  }
  const opened = { fd, io };
  return {
    io,
    direct: true,
    close: async () => {
      await opened.io.close();
      fs.closeSync(opened.fd);
    },
  };
}

function sync(file: string, fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(failedWrite(file, 0, errnoOf(error)))));
  });
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
