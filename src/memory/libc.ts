/**
 * The handful of system calls that expert memory is made of, bound through koffi with their constants. It decides
 * nothing and checks nothing but the return value: a failed call becomes a `SystemCallError` with the errno's name.
 */
import fs from "node:fs";
import os from "node:os";
import koffi from "koffi";

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_POPULATE = 0x8000;
export const MREMAP_MAYMOVE = 1;
export const MREMAP_FIXED = 2;
/** Linux 5.7: the source stays mapped, empty. */
export const MREMAP_DONTUNMAP = 4;
export const MADV_RANDOM = 1;
export const MADV_WILLNEED = 3;
export const MADV_DONTNEED = 4;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
/** Linux 5.14 */
export const MADV_POPULATE_READ = 22;
/** Linux 5.14 */
export const MADV_POPULATE_WRITE = 23;
export const POSIX_FADV_DONTNEED = 4;

/** A system call that failed: which one, on what, and the errno. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly call: string;
  readonly errno: number;
  readonly code: string;

  constructor(call: string, errno: number, detail: string) {
    const code = errnoName(errno);
    super(`${call} failed with ${code}: ${detail}`);
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}

export function errnoName(errno: number): string {
  return Object.entries(os.constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
}

const libc = process.platform === "linux" ? koffi.load("libc.so.6") : undefined;

function bind<T>(declaration: string): T {
  // On other systems the engine maps the model the ordinary way, so nothing may be bound when this file is loaded.
  return (
    libc === undefined
      ? () => {
          throw new Error("Expert memory of our own needs Linux.");
        }
      : libc.func(declaration)
  ) as T;
}

const rawMmap = bind<(addr: number, len: number, prot: number, flags: number, fd: number, off: number) => number>(
  "uintptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)",
);
const rawMunmap = bind<(addr: number, len: number) => number>("int munmap(uintptr_t addr, size_t len)");
const rawMadvise = bind<(addr: number, len: number, advice: number) => number>(
  "int madvise(uintptr_t addr, size_t len, int advice)",
);
const rawMprotect = bind<(addr: number, len: number, prot: number) => number>(
  "int mprotect(uintptr_t addr, size_t len, int prot)",
);
const rawMremap = bind<(addr: number, oldLen: number, newLen: number, flags: number, to: number) => number>(
  "uintptr_t mremap(uintptr_t addr, size_t old_len, size_t new_len, int flags, uintptr_t to)",
);
const rawFadvise = bind<(fd: number, off: number, len: number, advice: number) => number>(
  "int posix_fadvise(int fd, int64_t off, int64_t len, int advice)",
);
/** `long pread(int fd, void* at, size_t bytes, off_t offset)`; -1 and errno on failure. */
export const pread = bind<(fd: number, at: number, bytes: number, offset: number) => number>(
  "long pread(int fd, uintptr_t at, size_t bytes, int64_t offset)",
);
/** `long syscall(long number, ...)` with five pointer-sized arguments; -1 and errno on failure. */
export const syscall = bind<(number: number, a: number, b: number, c: number, d: number, e: number) => number>(
  "long syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)",
);

const rawSysconf = bind<(name: number) => number>("long sysconf(int name)");
const SC_PAGESIZE = 30;

/** Bytes of a page: 4096 on x64, 4096 to 65536 on arm64. */
export const PAGE_BYTES = libc === undefined ? 4096 : Number(rawSysconf(SC_PAGESIZE));

export function lastErrno(): number {
  return koffi.errno();
}

/** (void*) -1 as koffi hands it over. */
const FAILED_ADDRESS = 2 ** 64;

function checkAddress(address: number | bigint, call: string, detail: string): number {
  if (Number(address) >= FAILED_ADDRESS - PAGE_BYTES) throw new SystemCallError(call, lastErrno(), detail);
  return Number(address);
}

/** Reserves `bytes` of anonymous memory: no page of it exists until it is touched or read into. Returns the address. */
export function reserveMemory(bytes: number): number {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  return checkAddress(rawMmap(0, bytes, PROT_READ | PROT_WRITE, flags, -1, 0), "mmap", `${bytes} bytes of memory`);
}

/** Maps `bytes` of an open file, read only, without reading any of it. */
export function mapFile(fd: number, bytes: number): number {
  return checkAddress(rawMmap(0, bytes, PROT_READ, MAP_SHARED, fd, 0), "mmap", `${bytes} bytes of a file`);
}

/** Maps an open file read-write and shared with other processes that map or write the same file. */
export function mapShared(fd: number, bytes: number): number {
  const at = rawMmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return checkAddress(at, "mmap", `${bytes} shared bytes`);
}

export function releaseMemory(address: number, bytes: number): void {
  if (rawMunmap(address, bytes) !== 0) throw new SystemCallError("munmap", lastErrno(), `${bytes} bytes`);
}

export function makeWritable(address: number, bytes: number): void {
  if (rawMprotect(address, bytes, PROT_READ | PROT_WRITE) !== 0)
    throw new SystemCallError("mprotect", lastErrno(), `${bytes} bytes`);
}

export function adviseMemory(address: number, bytes: number, advice: number): void {
  if (rawMadvise(address, bytes, advice) !== 0)
    throw new SystemCallError("madvise", lastErrno(), `advice ${advice} on ${bytes} bytes`);
}

/** As `adviseMemory`, for advice that old kernels do not know: false instead of an error. */
export function tryAdviseMemory(address: number, bytes: number, advice: number): boolean {
  return rawMadvise(address, bytes, advice) === 0;
}

/**
 * Moves the pages of [from, from + bytes) to `to`; the source range stays reserved and becomes empty. False when the
 * kernel cannot; the target is then empty reserved memory.
 */
export function movePages(from: number, to: number, bytes: number): boolean {
  const flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  if (Number(rawMremap(from, bytes, bytes, flags, to)) === to) return true;
  // mremap unmaps the target before it looks at the source (mm/mremap.c, mremap_to): whoever maps memory next would get it.
  const reserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  checkAddress(rawMmap(to, bytes, PROT_READ | PROT_WRITE, reserve, -1, 0), "mmap", `${bytes} bytes of memory`);
  return false;
}

/** Mappings that the kernel allows a process. */
export function mappingLimit(): number {
  return Number(fs.readFileSync("/proc/sys/vm/max_map_count", "latin1"));
}

export function adviseFile(fd: number, offset: number, bytes: number, advice: number): void {
  const errno = rawFadvise(fd, offset, bytes, advice); // returns the errno, does not set it
  if (errno !== 0) throw new SystemCallError("posix_fadvise", errno, `advice ${advice} on ${bytes} bytes`);
}

const rawPrctl = bind<(option: number, value: number) => number>("int prctl(int option, unsigned long value)");
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** From now on the kernel kills this process when its parent ends, however that happens. */
export function dieWithParent(): void {
  if (rawPrctl(PR_SET_PDEATHSIG, SIGKILL) !== 0) throw new SystemCallError("prctl", lastErrno(), "PR_SET_PDEATHSIG");
}

/** Typed-array window on native memory, valid as long as that memory stays mapped. */
export function viewMemory(address: number, bytes: number): ArrayBuffer {
  return koffi.view(BigInt(address), bytes) as ArrayBuffer;
}
