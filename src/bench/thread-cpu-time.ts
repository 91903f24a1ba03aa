/**
 * CPU time of the calling thread alone: what a system call costs, whatever else the machine does and however long it
 * waits. Node 20 has it for whole processes only. Linux.
 */
import { lastErrno, reserveMemory, SystemCallError, syscall, viewMemory } from "../memory/libc.ts";

/** clock_gettime: asm/unistd_64.h and asm-generic/unistd.h. */
const CLOCK_GETTIME: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 228, arm64: 113 };
const CLOCK_THREAD_CPUTIME_ID = 3;
/** struct timespec of 64-bit systems. */
const TIMESPEC_BYTES = 16;

/** A clock in ms. It keeps one page for as long as the process lives. Throws `SystemCallError`. */
export function threadCpuClock(): () => number {
  const number = CLOCK_GETTIME[process.arch];
  if (number === undefined) throw new SystemCallError("clock_gettime", 38, `its number on ${process.arch} is unknown`);
  const address = reserveMemory(TIMESPEC_BYTES);
  const view = new DataView(viewMemory(address, TIMESPEC_BYTES));
  return () => {
    if (Number(syscall(number, CLOCK_THREAD_CPUTIME_ID, address, 0, 0, 0)) !== 0)
      throw new SystemCallError("clock_gettime", lastErrno(), "CPU time of the thread");
    return Number(view.getBigInt64(0, true)) * 1e3 + Number(view.getBigInt64(8, true)) / 1e6;
  };
}
