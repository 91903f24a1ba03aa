/**
 * Experts in the kernel's page cache: the file stays mapped, loading is advice (MADV_WILLNEED, then
 * MADV_POPULATE_READ to wait), evicting unmaps the pages and drops them from the cache. The second back end of
 * `ExpertMemory`: no direct reads and no memory of our own, but whatever else the machine does can evict experts and
 * dense weights behind our back, and a read of 4 KiB pages costs a fault each.
 */
import type { ExpertKey } from "../cache/shape.ts";
import type { ExpertMemory, ExpertPlaces, LoadKind, MemoryCounters } from "./expert-memory.ts";
import {
  adviseFile,
  adviseMemory,
  lastErrno,
  MADV_DONTNEED,
  MADV_POPULATE_READ,
  MADV_WILLNEED,
  PAGE_BYTES,
  POSIX_FADV_DONTNEED,
  tryAdviseMemory,
} from "./libc.ts";
import { coveringPages, ownPages } from "./page-plan.ts";
import type { ReadFailure } from "./read-engine.ts";

export interface PageCacheMemoryOptions extends ExpertPlaces {
  /** Buffered descriptors of the model's files, for dropping pages from the cache. */
  readonly descriptors: readonly number[];
}

export class PageCacheMemory implements ExpertMemory {
  readonly kind = "page-cache" as const;
  readonly stages: number;
  readonly counters: MemoryCounters = { bytesRead: 0, bytesArrived: 0, reads: 0, recycledBytes: 0, freshBytes: 0 };
  failure: ReadFailure | undefined;
  readonly #options: PageCacheMemoryOptions;
  readonly #experts: number;
  /** Per (key, stage): 1 until it was waited for. */
  readonly #pending: Uint8Array;
  /** Loaded, but not advised yet. */
  readonly #queue: ExpertKey[] = [];
  /** Advised, and nobody has waited for all of it yet; oldest first. */
  readonly #outstanding = new Set<ExpertKey>();

  constructor(options: PageCacheMemoryOptions) {
    this.#options = options;
    this.#experts = options.expertsPerLayer;
    this.stages = Math.max(...options.layers.map((slices) => slices.length));
    this.#pending = new Uint8Array(options.layers.length * this.#experts * this.stages);
    // What is cached already is outside of any budget, and a file that was just written lies in folios of up to 2 MiB,
    // of which the kernel drops none in part (find_lock_entries of mm/filemap.c).
    for (const descriptor of options.descriptors) adviseFile(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  }

  load(key: ExpertKey, _kind: LoadKind): void {
    for (let stage = 0; stage < this.#slices(key).length; stage++) this.#pending[key * this.stages + stage] = 1;
    this.#queue.push(key);
  }

  promote(_key: ExpertKey): void {}

  cancel(key: ExpertKey): "done" | "pending" | "refused" {
    const at = this.#queue.indexOf(key);
    if (at < 0) return "refused";
    this.#queue.splice(at, 1);
    this.#pending.fill(0, key * this.stages, (key + 1) * this.stages);
    this.evict(key);
    return "done";
  }

  evict(key: ExpertKey): void {
    for (let stage = 0; stage < this.#slices(key).length; stage++) {
      const { file, offset, bytes } = this.#range(key, stage);
      const own = ownPages(offset, bytes, PAGE_BYTES);
      if (own.end === own.start) continue;
      adviseMemory(this.#options.files[file].base + own.start, own.end - own.start, MADV_DONTNEED);
      adviseFile(this.#options.descriptors[file], own.start, own.end - own.start, POSIX_FADV_DONTNEED);
    }
  }

  pump(_speculativeBytes: number): void {
    for (let stage = 0; stage < this.stages; stage++)
      for (const key of this.#queue) {
        if (this.#slices(key)[stage] === undefined) continue;
        const { file, offset, bytes } = this.#range(key, stage);
        const pages = coveringPages(offset, bytes, PAGE_BYTES);
        this.counters.bytesRead += pages.end - pages.start;
        this.counters.reads++;
        adviseMemory(this.#options.files[file].base + pages.start, pages.end - pages.start, MADV_WILLNEED);
      }
    for (const key of this.#queue) this.#outstanding.add(key);
    this.#queue.length = 0;
  }

  poll(): void {
    // The kernel tells nobody when read-ahead has finished; whoever needs the pages finds out in `wait`.
  }

  ready(key: ExpertKey, stage: number): boolean {
    return this.#pending[key * this.stages + stage] === 0;
  }

  wait(key: ExpertKey, stage: number): void {
    const at = key * this.stages + stage;
    if (this.#pending[at] === 0) return;
    // It may have found room only just now, and is not advised yet.
    this.pump(0);
    const { file, offset, bytes } = this.#range(key, stage);
    const pages = coveringPages(offset, bytes, PAGE_BYTES);
    const { base, path } = this.#options.files[file];
    if (!tryAdviseMemory(base + pages.start, pages.end - pages.start, MADV_POPULATE_READ)) {
      this.failure ??= { file: path, offset: pages.start, bytes: pages.end - pages.start, errno: lastErrno() };
      return;
    }
    this.#pending[at] = 0;
    this.counters.bytesArrived += pages.end - pages.start;
    for (let other = 0; other < this.stages; other++) if (this.#pending[key * this.stages + other] === 1) return;
    this.#outstanding.delete(key);
    this.#options.onComplete(key);
  }

  waitForAny(): void {
    for (const key of this.#outstanding) {
      for (let stage = 0; stage < this.#slices(key).length; stage++) this.wait(key, stage);
      return;
    }
  }

  get backlogBytes(): number {
    return 0;
  }

  get inFlightBytes(): number {
    return this.counters.bytesRead - this.counters.bytesArrived;
  }

  close(): void {}

  #slices(key: ExpertKey) {
    return this.#options.layers[Math.floor(key / this.#experts)];
  }

  #range(key: ExpertKey, stage: number) {
    const slice = this.#slices(key)[stage];
    return {
      file: slice.file,
      offset: slice.offset + (key % this.#experts) * slice.strideBytes,
      bytes: slice.strideBytes,
    };
  }
}
