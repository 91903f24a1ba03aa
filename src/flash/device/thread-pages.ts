/**
 * Pages by Node's own reading and writing threads, through the page cache: for where O_DIRECT or Linux AIO is refused. Slower
 * (four threads unless UV_THREADPOOL_SIZE says otherwise) and never wrong.
 */
import fs from "node:fs";
import { errnoOf, failedRead, failedWrite } from "./io-errors.ts";
import type { PageFile, PageIo } from "./page-io.ts";

export function createThreadPages({ path, fd }: PageFile): PageIo {
  const underWay = new Set<Promise<void>>();
  const kept = <T>(promise: Promise<T>): Promise<T> => {
    const forget = () => {
      underWay.delete(settled);
    };
    const settled: Promise<void> = promise.then(forget, forget);
    underWay.add(settled);
    return promise;
  };
  return {
    name: "threads",
    read: (offset, into) => kept(readAll(path, fd, offset, into)),
    write: (offset, bytes) => kept(writeAll(path, fd, offset, bytes)),
    close: async () => {
      await Promise.all(underWay);
    },
  };
}

function readAll(path: string, fd: number, offset: number, into: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const more = (at: number): void => {
      fs.read(fd, into, at, into.length - at, offset + at, (error, n) => {
        if (error !== null) reject(failedRead(path, offset, errnoOf(error)));
        else if (n === 0) reject(failedRead(path, offset, 0));
        else if (at + n === into.length) resolve(into);
        else more(at + n);
      });
    };
    more(0);
  });
}

function writeAll(path: string, fd: number, offset: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const more = (at: number): void => {
      fs.write(fd, bytes, at, bytes.length - at, offset + at, (error, n) => {
        if (error !== null) reject(failedWrite(path, offset, errnoOf(error)));
        else if (at + n === bytes.length) resolve();
        else more(at + n);
      });
    };
    more(0);
  });
}
