import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Figure } from "./figure.ts";
import { madeUpReport } from "./locality-report.test-data.ts";
import { localityFigures } from "./locality-report.ts";
import { PngError } from "./png.ts";
import { FigureWriteError, writeFigures } from "./write-figures.ts";

let directory: string;
let figures: readonly Figure[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "warmset-figures-"));
  figures = localityFigures(madeUpReport({ key: "phi" })).slice(0, 2);
});

afterAll(() => rm(directory, { recursive: true }));

describe("figures as files", () => {
  test("SVG files are named after their figures, in a directory that is made for them", async () => {
    const paths = await writeFigures(join(directory, "new", "svg"), figures);
    expect(paths).toEqual(figures.map(({ id }) => join(directory, "new", "svg", `${id}.svg`)));
    expect(await readFile(paths[0], "utf8")).toBe(`${figures[0].svg}\n`);
  });

  test("PNG files have twice the figure's size and something in them", async () => {
    const paths = await writeFigures(directory, figures, { png: true });
    for (const [i, path] of paths.entries()) {
      const [, width, height] = /^<svg [^>]*?width="(\d+)" height="(\d+)"/.exec(figures[i].svg)!;
      const picture = readPng(await readFile(path));
      expect([picture.width, picture.height]).toEqual([2 * Number(width), 2 * Number(height)]);
      expect(new Set(picture.bytes).size).toBeGreaterThan(50);
    }
  });

  test("without a font there is an error that says so, and no picture without text", async () => {
    const failed = writeFigures(join(directory, "none"), figures, { png: true, fontFiles: [] });
    await expect(failed).rejects.toThrow(PngError);
    await expect(failed).rejects.toMatchObject({
      problem: "no-font",
      message: expect.stringContaining("fonts-dejavu"),
    });
    await expect(readFile(join(directory, "none", `${figures[0].id}.png`))).rejects.toThrow("ENOENT");
  });

  test("a directory that cannot be made is named", async () => {
    const file = join(directory, "file");
    await writeFile(file, "");
    const failed = writeFigures(join(file, "below"), figures);
    await expect(failed).rejects.toThrow(FigureWriteError);
    await expect(failed).rejects.toThrow(join(file, "below"));
  });
});

/** Size and inflated rows of a PNG. */
function readPng(file: Buffer) {
  expect(file.subarray(1, 4).toString("latin1")).toBe("PNG");
  const data: Buffer[] = [];
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at))
    if (file.toString("latin1", at + 4, at + 8) === "IDAT")
      data.push(file.subarray(at + 8, at + 8 + file.readUInt32BE(at)));
  return { width: file.readUInt32BE(16), height: file.readUInt32BE(20), bytes: inflateSync(Buffer.concat(data)) };
}
