import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { createAio } from "./aio.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory, viewMemory } from "./libc.ts";
import { coveringPages } from "./page-plan.ts";
import { createPreadPool } from "./pread-pool.ts";
import type { ReadDone, ReadEngine, ReadFailure } from "./read-engine.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "reads-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const EBADF = 9;
const EFAULT = 14;

// Ends in the middle of a page, as model files do.
const FILE_BYTES = 40 * PAGE_BYTES + 1234;
const bytes = Buffer.alloc(FILE_BYTES);
for (let i = 0; i < FILE_BYTES; i++) bytes[i] = (i * 2654435761) >>> 24;
const path = join(folder, "file");
fs.writeFileSync(path, bytes);
// Direct reads see what is on the disk.
flushToDisk(path);

function flushToDisk(file: string): void {
  const fd = fs.openSync(file, "r+");
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

interface Finished {
  readonly tag: number;
  readonly bytes: number;
  readonly error: ReadFailure | undefined;
}

interface Opened {
  readonly reads: ReadEngine;
  readonly finished: Finished[];
  readonly fd: number;
  readonly close: () => void;
}

type Create = (path: string, fd: number, done: ReadDone, depth: number) => ReadEngine;

const DIRECT = fs.constants.O_RDONLY | fs.constants.O_DIRECT;
const ENGINES: readonly { readonly name: string; readonly flags: number; readonly create: Create }[] = [
  { name: "AIO", flags: DIRECT, create: (path, fd, done, depth) => createAio([{ path, fd }], done, { depth }) },
  {
    name: "pread pool, direct",
    flags: DIRECT,
    create: (path, fd, done, depth) => createPreadPool([{ path, fd, buffered: false }], done, { depth, threads: 2 }),
  },
  {
    name: "pread pool, buffered",
    flags: fs.constants.O_RDONLY,
    create: (path, fd, done, depth) => createPreadPool([{ path, fd, buffered: true }], done, { depth, threads: 2 }),
  },
];

describe.each(ENGINES)("$name", ({ flags, create }) => {
  const open = (file = path, depth = 16): Opened => {
    const fd = fs.openSync(file, flags);
    const finished: Finished[] = [];
    const reads = create(file, fd, (tag, bytes, error) => finished.push({ tag, bytes, error }), depth);
    return {
      reads,
      finished,
      fd,
      close: () => {
        reads.close();
        fs.closeSync(fd);
      },
    };
  };
  const drain = ({ reads }: Opened) => {
    while (reads.inFlight > 0) reads.reap(reads.inFlight);
  };

  test("brings the same bytes as readSync, of any pages up to the unaligned end", () => {
    const opened = open();
    const range = fc
      .tuple(fc.integer({ min: 0, max: FILE_BYTES - 1 }), fc.integer({ min: 1, max: 12 * PAGE_BYTES }))
      .map(([offset, length]) => coveringPages(offset, Math.min(length, FILE_BYTES - offset), PAGE_BYTES));
    const memoryBytes = 16 * 16 * PAGE_BYTES;
    const address = reserveMemory(memoryBytes);
    const memory = Buffer.from(viewMemory(address, memoryBytes));
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 16 }), (ranges) => {
        opened.finished.length = 0;
        memory.fill(0);
        for (const [i, { start, end }] of ranges.entries())
          opened.reads.submit(
            0,
            start,
            address + i * 16 * PAGE_BYTES,
            end - start,
            Math.min(end, FILE_BYTES) - start,
            i,
          );
        expect(opened.reads.inFlight + opened.finished.length).toBe(ranges.length);
        drain(opened);
        expect(opened.finished.map(({ tag }) => tag).sort((a, b) => a - b)).toEqual(ranges.map((_, i) => i));
        for (const { tag, bytes: got, error } of opened.finished) {
          expect(error).toBeUndefined();
          expect(got).toBe(ranges[tag].end - ranges[tag].start);
        }
        for (const [i, { start, end }] of ranges.entries()) {
          const length = Math.min(end, FILE_BYTES) - start;
          const at = i * 16 * PAGE_BYTES;
          expect(memory.compare(bytes, start, start + length, at, at + length)).toBe(0);
        }
      }),
      { numRuns: 60 },
    );
    opened.close();
    releaseMemory(address, memoryBytes);
  });

  test("keeps as many in flight as it says, and refuses one more", () => {
    const opened = open(path, 8);
    const address = reserveMemory(8 * PAGE_BYTES);
    let submitted = 0;
    for (; opened.reads.free > 0 && submitted < 8; submitted++)
      opened.reads.submit(
        0,
        submitted * PAGE_BYTES,
        address + submitted * PAGE_BYTES,
        PAGE_BYTES,
        PAGE_BYTES,
        submitted,
      );
    expect(submitted).toBe(8);
    expect(opened.reads.inFlight).toBe(8);
    expect(() => opened.reads.submit(0, 0, address, PAGE_BYTES, PAGE_BYTES, 9)).toThrow(/full/);
    let reaped = opened.reads.reap(3);
    expect(reaped).toBeGreaterThanOrEqual(3);
    while (reaped < 8) reaped += opened.reads.reap(1);
    expect(opened.reads.free).toBe(8);
    expect(opened.reads.reap(5)).toBe(0);
    opened.close();
    releaseMemory(address, 8 * PAGE_BYTES);
  });

  test("goes on for many more requests than fit its queue", () => {
    const opened = open(path, 4);
    const address = reserveMemory(40 * PAGE_BYTES);
    for (let i = 0; i < 400; i++) {
      const page = (i * 7) % 40;
      if (opened.reads.free === 0) opened.reads.reap(1);
      opened.reads.submit(0, page * PAGE_BYTES, address + page * PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, i);
    }
    drain(opened);
    expect(new Set(opened.finished.map(({ tag }) => tag)).size).toBe(400);
    expect(Buffer.from(viewMemory(address, 40 * PAGE_BYTES)).compare(bytes, 0, 40 * PAGE_BYTES)).toBe(0);
    opened.close();
    releaseMemory(address, 40 * PAGE_BYTES);
  });

  test("tells that a file was truncated: errno 0", () => {
    const file = join(folder, `truncated-${Math.random()}`);
    fs.copyFileSync(path, file);
    flushToDisk(file);
    const opened = open(file);
    const address = reserveMemory(8 * PAGE_BYTES);
    // One read ends within the new size, one runs over it, one begins behind it.
    fs.truncateSync(file, 10 * PAGE_BYTES + 100);
    for (const page of [6, 8, 20])
      opened.reads.submit(0, page * PAGE_BYTES, address, 4 * PAGE_BYTES, 4 * PAGE_BYTES, page);
    drain(opened);
    const errorOf = (page: number) => opened.finished.find(({ tag }) => tag === page)?.error;
    expect(errorOf(6)).toBeUndefined();
    const failure = { file, bytes: 4 * PAGE_BYTES, errno: 0 };
    expect(errorOf(8)).toEqual({ ...failure, offset: 8 * PAGE_BYTES });
    expect(errorOf(20)).toEqual({ ...failure, offset: 20 * PAGE_BYTES });
    opened.close();
    releaseMemory(address, 8 * PAGE_BYTES);
  });

  test("tells what the kernel says: a descriptor or an address that is none", () => {
    const address = reserveMemory(2 * PAGE_BYTES);
    const failures: (ReadFailure | undefined)[] = [];
    const reads = create(path, 1_000_000, (_, __, error) => failures.push(error), 4);
    reads.submit(0, 0, address, PAGE_BYTES, PAGE_BYTES, 1);
    while (reads.inFlight > 0) reads.reap(1);
    reads.close();
    expect(failures).toEqual([{ file: path, offset: 0, bytes: PAGE_BYTES, errno: EBADF }]);

    const opened = open();
    opened.reads.submit(0, PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, 2);
    opened.reads.submit(0, PAGE_BYTES, address, PAGE_BYTES, PAGE_BYTES, 3);
    drain(opened);
    expect(opened.finished.find(({ tag }) => tag === 2)?.error).toMatchObject({ errno: EFAULT, offset: PAGE_BYTES });
    expect(opened.finished.find(({ tag }) => tag === 3)?.error).toBeUndefined();
    opened.close();
    releaseMemory(address, 2 * PAGE_BYTES);
  });

  test("waits for what is in flight before it closes", () => {
    const opened = open(path, 32);
    const address = reserveMemory(32 * PAGE_BYTES);
    for (let i = 0; i < 32; i++)
      opened.reads.submit(0, i * PAGE_BYTES, address + i * PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, i);
    opened.close();
    expect(opened.finished).toHaveLength(32);
    releaseMemory(address, 32 * PAGE_BYTES);
  });
});

describe("a pool of more threads than cores", () => {
  // Threads that are put to sleep between two looks at what there is to do once read a request twice and another one not at all.
  test("reads every request, and none twice", () => {
    const fd = fs.openSync(path, fs.constants.O_RDONLY);
    const finished: number[] = [];
    const done: ReadDone = (tag) => void finished.push(tag);
    const pool = createPreadPool([{ path, fd, buffered: false }], done, { threads: 24, depth: 8 });
    const address = reserveMemory(5 * PAGE_BYTES);
    const memory = new Uint8Array(viewMemory(address, 5 * PAGE_BYTES));
    const end = performance.now() + 6000;
    for (let round = 0; performance.now() < end; round++) {
      const tags = Array.from({ length: 1 + (round % 5) }, (_, i) => 8 * round + i);
      for (const [i, tag] of tags.entries()) {
        memory[i * PAGE_BYTES] = ~bytes[(tag % 40) * PAGE_BYTES];
        pool.submit(0, (tag % 40) * PAGE_BYTES, address + i * PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, tag);
      }
      pool.reap(tags.length);
      finished.sort((a, b) => a - b);
      const wrong = tags.filter((tag, i) => memory[i * PAGE_BYTES] !== bytes[(tag % 40) * PAGE_BYTES]);
      if (wrong.length > 0 || finished.join() !== tags.join())
        expect({ wrong, finished }).toEqual({ wrong: [], finished: tags });
      finished.length = 0;
    }
    expect(pool.inFlight).toBe(0);
    pool.close();
    fs.closeSync(fd);
    releaseMemory(address, 5 * PAGE_BYTES);
  });
});
