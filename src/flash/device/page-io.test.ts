/** Both ways to a file's pages, and what they make of a kernel that refuses. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAioPages } from "./aio-pages.ts";
import type { PageFile, PageIo } from "./page-io.ts";
import { createThreadPages } from "./thread-pages.ts";
import { PAGE_BYTES } from "./zone-device.ts";

const folder = fs.mkdtempSync(path.join(tmpdir(), "page-io-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

interface Way {
  readonly name: string;
  readonly flags: number;
  readonly create: (file: PageFile) => PageIo;
}

const WAYS: readonly Way[] = [
  { name: "AIO", flags: fs.constants.O_DIRECT, create: (file) => createAioPages(file, { inFlight: 8 }) },
  { name: "threads", flags: 0, create: createThreadPages },
];

describe.each(WAYS)("pages by $name", ({ flags, create }) => {
  const open = (mode: number): { io: PageIo; file: PageFile; close: () => Promise<void> } => {
    const name = path.join(folder, "pages");
    fs.writeFileSync(name, new Uint8Array(16 * PAGE_BYTES).fill(3));
    const fd = fs.openSync(name, mode | flags);
    const file = { path: name, fd };
    const io = create(file);
    return {
      ...{ io, file },
      close: async () => {
        await io.close();
        fs.closeSync(fd);
      },
    };
  };

  test("more at once than fit, in both directions", async () => {
    const { io, close } = open(fs.constants.O_RDWR);
    const writes = Array.from({ length: 16 }, (_, i) => io.write(i * PAGE_BYTES, new Uint8Array(PAGE_BYTES).fill(i)));
    await Promise.all(writes);
    const reads = Array.from({ length: 200 }, (_, i) => io.read((i % 16) * PAGE_BYTES, new Uint8Array(PAGE_BYTES)));
    const pages = await Promise.all(reads);
    expect(pages.map((bytes) => [bytes[0], bytes[PAGE_BYTES - 1]])).toEqual(
      Array.from({ length: 200 }, (_, i) => [i % 16, i % 16]),
    );
    await close();
  });

  test("past the end of the file: a failed read", async () => {
    const { io, close } = open(fs.constants.O_RDWR);
    const [whole, half, none] = await Promise.allSettled([
      io.read(15 * PAGE_BYTES, new Uint8Array(PAGE_BYTES)),
      io.read(15 * PAGE_BYTES, new Uint8Array(2 * PAGE_BYTES)),
      io.read(64 * PAGE_BYTES, new Uint8Array(PAGE_BYTES)),
    ]);
    expect(whole.status).toBe("fulfilled");
    for (const end of [half, none]) expect(end).toMatchObject({ status: "rejected", reason: { kind: "read-failed" } });
    await close();
  });

  test("a file that cannot be written, or not be read: errors that name it, and the next request is served", async () => {
    const reading = open(fs.constants.O_RDONLY);
    const writes = Array.from({ length: 30 }, () => reading.io.write(0, new Uint8Array(PAGE_BYTES)));
    for (const end of await Promise.allSettled(writes)) {
      expect(end).toMatchObject({ status: "rejected", reason: { kind: "read-only" } });
    }
    await expect(reading.io.write(0, new Uint8Array(PAGE_BYTES))).rejects.toThrow(/EBADF/);
    await expect(reading.io.write(0, new Uint8Array(PAGE_BYTES))).rejects.toThrow(reading.file.path);
    expect((await reading.io.read(0, new Uint8Array(PAGE_BYTES)))[9]).toBe(3);
    await reading.close();
    const writing = open(fs.constants.O_WRONLY);
    await expect(writing.io.read(0, new Uint8Array(PAGE_BYTES))).rejects.toMatchObject({ kind: "read-failed" });
    await writing.io.write(0, new Uint8Array(PAGE_BYTES));
    await writing.close();
  });

  test("a large request fails as a whole when one of its slices does", async () => {
    const { io, close } = open(fs.constants.O_RDWR);
    await expect(io.read(0, new Uint8Array(5 * 2 ** 20))).rejects.toMatchObject({ kind: "read-failed" });
    await close();
  });
});

test.runIf(fs.existsSync("/dev/full"))("a full disk: read-only, with the reason", async () => {
  const fd = fs.openSync("/dev/full", "r+");
  const io = createThreadPages({ path: "/dev/full", fd });
  await expect(io.write(0, new Uint8Array(PAGE_BYTES))).rejects.toMatchObject({
    kind: "read-only",
    message: expect.stringContaining("ENOSPC"),
  });
  await io.close();
  fs.closeSync(fd);
});
