/** Three calls on open files that Node does not have: a lock that ends with its process, space set aside, and a hole. Linux only. */
import { errnoName, lastErrno, SystemCallError, syscall } from "./libc.ts";

/** asm/unistd_64.h and asm-generic/unistd.h. */
const SYSCALLS = { x64: { flock: 73, fallocate: 285 }, arm64: { flock: 32, fallocate: 47 } } as const;
// sys/file.h, linux/falloc.h
const LOCK_EX = 2;
const LOCK_NB = 4;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;

const calls = process.platform === "linux" ? SYSCALLS[process.arch as keyof typeof SYSCALLS] : (undefined as undefined);

/** Whether these calls can be made here. */
export const HAS_FILE_CALLS = calls !== undefined;

/**
 * Locks an open file for this descriptor alone. The kernel lets go of it with the process, however that ends.
 * @returns false when another descriptor has it, of this process or another
 * @throws SystemCallError
 */
export function tryLock(fd: number): boolean {
  if (Number(syscall(number("flock"), fd, LOCK_EX | LOCK_NB, 0, 0, 0)) === 0) return true;
  const errno = lastErrno();
  if (errnoName(errno) === "EAGAIN" || errnoName(errno) === "EWOULDBLOCK") return false;
  throw new SystemCallError("flock", errno, `descriptor ${fd}`);
}

/** Sets space aside up to `bytes` and makes the file that long; what was not written reads as zeros. @throws SystemCallError */
export function allocate(fd: number, bytes: number): void {
  if (Number(syscall(number("fallocate"), fd, 0, 0, bytes, 0)) !== 0)
    throw new SystemCallError("fallocate", lastErrno(), `${bytes} bytes`);
}

/** Gives the space of a stretch back to the file system; it reads as zeros. @throws SystemCallError */
export function punchHole(fd: number, offset: number, bytes: number): void {
  if (Number(syscall(number("fallocate"), fd, PUNCH_HOLE | KEEP_SIZE, offset, bytes, 0)) !== 0)
    throw new SystemCallError("fallocate", lastErrno(), `a hole of ${bytes} bytes at ${offset}`);
}

function number(call: "flock" | "fallocate"): number {
  if (calls === undefined) throw new SystemCallError(call, 38, `on ${process.platform} ${process.arch}`);
  return calls[call];
}
