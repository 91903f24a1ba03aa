/** Figures as files: one SVG or PNG each, named after the figure. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Figure } from "./figure.ts";
import { type PngOptions, pngRenderer } from "./png.ts";

export interface WriteFiguresOptions extends PngOptions {
  /** PNG files instead of SVG files. Default: false. */
  readonly png?: boolean;
}

export class FigureWriteError extends Error {
  override readonly name = "FigureWriteError";
  readonly path: string;

  constructor(path: string, cause: unknown) {
    super(
      `${path} could not be written: ${cause instanceof Error ? cause.message : cause}. Choose another directory.`,
      { cause },
    );
    this.path = path;
  }
}

/**
 * Writes `<id>.svg` or `<id>.png` of each figure into the directory, which is made if it is not there; files of the same
 * names are replaced. Returns the paths. Throws PngError, FigureWriteError.
 */
export async function writeFigures(
  directory: string,
  figures: readonly Pick<Figure, "id" | "svg">[],
  options: WriteFiguresOptions = {},
): Promise<readonly string[]> {
  const renderer = options.png ? await pngRenderer(options) : undefined;
  await writing(directory, () => mkdir(directory, { recursive: true }));
  const paths: string[] = [];
  for (const { id, svg } of figures) {
    const path = join(directory, `${id}.${renderer === undefined ? "svg" : "png"}`);
    await writing(path, () => writeFile(path, renderer === undefined ? `${svg}\n` : renderer.render(svg)));
    paths.push(path);
  }
  return paths;
}

async function writing(path: string, write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (cause) {
    throw new FigureWriteError(path, cause);
  }
}
