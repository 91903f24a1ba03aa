/**
 * Brings everything that is not an expert into the reserved memory, once, by the same direct reads as experts. Kept
 * out of the page cache because every token needs it: peers measured 3.2x from this alone under memory pressure.
 */
import type { ModelFile } from "./expert-memory.ts";
import { MADV_HUGEPAGE, PAGE_BYTES, tryAdviseMemory } from "./libc.ts";
import { mergeToPages } from "./page-plan.ts";
import type { ReadEngine, ReadFailure } from "./read-engine.ts";

const REQUEST_BYTES = 1 << 20;
const HUGE_PAGE_BYTES = 2 << 20;

export interface DenseBytes {
  /** Index into the files. */
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
}

export interface DenseReader {
  readonly failure: ReadFailure | undefined;
  /** To be called as `ReadDone` for the tag -1. */
  finished(tag: number, bytes: number, error: ReadFailure | undefined): void;
  /** Reads all ranges; returns the bytes read. Stops early when `stop()` turns true or a read fails. */
  read(reads: ReadEngine, onProgress: (bytesRead: number, bytesTotal: number) => void, stop: () => boolean): number;
}

export function createDenseReader(files: readonly ModelFile[], ranges: readonly DenseBytes[]): DenseReader {
  let failure: ReadFailure | undefined;
  return {
    get failure() {
      return failure;
    },
    finished(_tag, _bytes, error) {
      failure ??= error;
    },
    read(reads, onProgress, stop) {
      const planned = files.map((_, index) =>
        mergeToPages(
          ranges
            .filter((range) => range.shard === index)
            .map((range) => ({ start: range.offset, end: range.offset + range.bytes })),
          PAGE_BYTES,
        ),
      );
      const total = planned.flat().reduce((sum, { start, end }) => sum + end - start, 0);
      let done = 0;
      for (const [index, pages] of planned.entries()) {
        const { base, bytes: fileBytes } = files[index];
        for (const { start, end } of pages) {
          // Zeroing 2 MiB at once costs 71 us per MiB, page by page 490 (`npm run bench:pages`); only pages inside the range can become huge.
          if (end - start >= HUGE_PAGE_BYTES) tryAdviseMemory(base + start, end - start, MADV_HUGEPAGE);
          for (let at = start; at < end; at += REQUEST_BYTES) {
            if (stop() || failure !== undefined) break;
            while (reads.free === 0) reads.reap(1);
            const bytes = Math.min(REQUEST_BYTES, end - at);
            reads.submit(index, at, base + at, bytes, Math.min(bytes, fileBytes - at), -1);
            done += bytes;
            onProgress(done, total);
          }
        }
      }
      while (reads.inFlight > 0) reads.reap(reads.inFlight);
      return done;
    },
  };
}
