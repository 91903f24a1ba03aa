/** Failed reads and writes in the words of the cache: which file, what went wrong, and what that means. Decides nothing else. */
import { errnoName } from "../../memory/libc.ts";
import { FlashError } from "../errors.ts";

/** @param errno 0 when fewer bytes came than asked for */
export function failedRead(path: string, offset: number, errno: number): FlashError {
  const why = errno === 0 ? "the file ends before them" : errnoName(errno);
  return new FlashError("read-failed", `Bytes from ${offset} of ${path} cannot be read: ${why}.`);
}

/** @param errno 0 when fewer bytes were written than given */
export function failedWrite(path: string, offset: number, errno: number): FlashError {
  const why = errno === 0 ? "only part of them was taken" : errnoName(errno);
  return new FlashError(
    "read-only",
    `Bytes from ${offset} of ${path} cannot be written: ${why}. Nothing more is written.`,
  );
}

/** @param error of a call of `node:fs` */
export function errnoOf(error: unknown): number {
  return Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
}
