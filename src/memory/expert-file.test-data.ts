/** Files of experts for tests of memory: made once a test file, with contents that tell every place apart. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { SlicePlace } from "./expert-memory.ts";
import { PAGE_BYTES } from "./libc.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "experts-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

export const EXPERTS = 5;

/** A file of experts, one tensor behind the other from an odd offset on, so that neighbours share pages. */
export class ExpertFile {
  readonly layers: SlicePlace[][] = [];
  readonly bytes: number;
  readonly mappedBytes: number;
  readonly content: Buffer;
  readonly path: string;

  constructor(name: string, strides: readonly (readonly number[])[]) {
    let end = 5000;
    for (const layer of strides)
      this.layers.push(
        layer.map((strideBytes) => {
          const place = { file: 0, offset: end, strideBytes };
          end += strideBytes * EXPERTS;
          return place;
        }),
      );
    this.bytes = end + 333;
    this.mappedBytes = Math.ceil(this.bytes / PAGE_BYTES) * PAGE_BYTES;
    this.content = Buffer.alloc(this.bytes);
    for (let i = 0; i + 4 <= this.bytes; i += 4) this.content.writeUInt32LE(Math.imul(i + 1, 2654435761) >>> 0, i);
    this.path = join(folder, name);
    fs.writeFileSync(this.path, this.content);
    const written = fs.openSync(this.path, "r+");
    fs.fsyncSync(written);
    fs.closeSync(written);
  }

  get keys(): number {
    return this.layers.length * EXPERTS;
  }

  slicesOf(key: number): readonly SlicePlace[] {
    return this.layers[Math.floor(key / EXPERTS)];
  }

  bytesOf(key: number): number {
    return this.slicesOf(key).reduce((sum, { strideBytes }) => sum + strideBytes, 0);
  }

  get expertBytes(): number {
    return Array.from({ length: this.keys }, (_, key) => this.bytesOf(key)).reduce((a, b) => a + b);
  }
}

export const offsetOf = (key: number, { offset, strideBytes }: SlicePlace) => offset + (key % EXPERTS) * strideBytes;

/**
 * Layers as mixed quantisations make them: slices that break pages, whole pages (twice as large), some under a page, and
 * some of several requests.
 */
export const ODD = new ExpertFile("odd", [
  [3 * PAGE_BYTES + 1000, 3 * PAGE_BYTES + 1000, 40 * PAGE_BYTES + 500],
  [40 * PAGE_BYTES, 40 * PAGE_BYTES, 80 * PAGE_BYTES],
  [1500, 2 * PAGE_BYTES, 700],
  [(1 << 20) + 3 * PAGE_BYTES + 77, 2 * PAGE_BYTES + 9],
]);
/** Matrices of whole pages, which go into slots: experts under 2 MiB, a little over it, and twice that. */
export const EVEN = new ExpertFile("even", [
  [3 * PAGE_BYTES, 3 * PAGE_BYTES, 40 * PAGE_BYTES],
  [200 * PAGE_BYTES, 200 * PAGE_BYTES, 200 * PAGE_BYTES],
  [513 * PAGE_BYTES, 520 * PAGE_BYTES],
]);
