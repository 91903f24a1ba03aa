/**
 * Experts in anonymous memory of our own, at the addresses where llama.cpp expects them, filled by direct reads.
 *
 * Eviction does not give pages back to the kernel: the pages of the victim are moved (mremap) to the expert that
 * takes its place. Freeing them and faulting fresh, zeroed ones in costs 375 to 430 us per MiB inside io_submit, on
 * the thread that computes, and held direct reads to 1.5 GB/s on a drive that gives 3.4; moving costs about 5 us per MiB.
 */
import type { ExpertKey } from "../cache/shape.ts";
import type { ExpertMemory, ExpertPlaces, LoadKind, MemoryCounters } from "./expert-memory.ts";
import {
  adviseMemory,
  MADV_DONTNEED,
  MADV_HUGEPAGE,
  mappingLimit,
  movePages,
  PAGE_BYTES,
  tryAdviseMemory,
} from "./libc.ts";
import { coveringPages, ownPages } from "./page-plan.ts";
import type { ReadEngine, ReadFailure } from "./read-engine.ts";

/** One request: drives are at full speed from 512 KiB on, and smaller requests let demanded ones overtake sooner. */
const REQUEST_BYTES = 1 << 20;
const HUGE_PAGE_BYTES = 2 << 20;
/** A remainder of a donor under this is freed rather than kept: every piece is a mapping of its own to the kernel. */
const SMALLEST_DONOR_BYTES = 16 * PAGE_BYTES;

export interface OwnedMemoryOptions extends ExpertPlaces {
  readonly reads: ReadEngine;
  /** Bytes of experts that may be held, pages waiting for a new owner included. */
  readonly budgetBytes: number;
  /** Move pages from victims to newcomers. @default true; false frees and faults them (old kernels, comparison) */
  readonly recycle?: boolean;
  /** Mappings that the kernel allows this process. @default vm.max_map_count */
  readonly mappingLimit?: number;
}

/** What `#loading` holds per key. */
const IDLE = 0;
const LOADING = 1;
const CANCELLED = 2;

/** Pages of evicted experts, waiting for a new owner. */
interface Donor {
  /** (key, stage) whose own pages these are. */
  readonly at: number;
  /** Offset from the first of them. */
  readonly from: number;
  readonly address: number;
  readonly bytes: number;
}

/**
 * Share of the kernel's limit of mappings (vm.max_map_count, 65,530) that moved pages may take: each slice that gave or
 * got pages is a mapping of its own and cuts the one around it in two. Without mappings left, malloc fails.
 */
const MAPPING_SHARE = 0.7;
const MAPPINGS_PER_SLICE = 2;

export class OwnedMemory implements ExpertMemory {
  readonly kind = "owned" as const;
  readonly stages: number;
  readonly counters: MemoryCounters = { bytesRead: 0, bytesArrived: 0, reads: 0, recycledBytes: 0, freshBytes: 0 };
  failure: ReadFailure | undefined;
  /** False once the kernel refused to move pages (no MREMAP_DONTUNMAP, or its limit of mappings was reached). */
  recycling: boolean;

  readonly #places: ExpertPlaces;
  readonly #reads: ReadEngine;
  readonly #experts: number;
  /** Per (key, stage): requests neither finished nor cancelled. */
  readonly #pending: Uint16Array;
  /** Per (key, stage): requests submitted so far. */
  readonly #submitted: Uint16Array;
  /**
   * Per (key, stage): bytes from the start of the own pages that lie in one mapping, which is what one mremap can
   * move; 0: not known yet, all of them. A partial move leaves a border that stays until a whole move replaces it.
   */
  readonly #movable: Float64Array;
  /** Per (key, stage): 1 once its pages are a mapping of their own. */
  readonly #split: Uint8Array;
  #splitCount = 0;
  readonly #splitLimit: number;
  readonly #loading: Uint8Array;
  readonly #demanded: Int32Array;
  #demandedCount = 0;
  readonly #speculative: Int32Array;
  #speculativeHead = 0;
  #speculativeCount = 0;
  /** Pages of evicted experts. They stay until the next load takes them, as long as the budget has room for them. */
  readonly #donors: Donor[] = [];
  readonly #budgetBytes: number;
  /** Own pages of loaded experts, and donors. */
  #heldBytes = 0;

  constructor(options: OwnedMemoryOptions) {
    this.#places = options;
    this.#reads = options.reads;
    this.#budgetBytes = options.budgetBytes;
    this.recycling = options.recycle ?? true;
    this.#experts = options.expertsPerLayer;
    this.stages = Math.max(...options.layers.map((slices) => slices.length));
    const keys = options.layers.length * this.#experts;
    this.#pending = new Uint16Array(keys * this.stages);
    this.#submitted = new Uint16Array(keys * this.stages);
    this.#movable = new Float64Array(keys * this.stages);
    this.#split = new Uint8Array(keys * this.stages);
    this.#splitLimit = ((options.mappingLimit ?? mappingLimit()) * MAPPING_SHARE) / MAPPINGS_PER_SLICE;
    this.#loading = new Uint8Array(keys);
    this.#demanded = new Int32Array(keys);
    this.#speculative = new Int32Array(keys);
  }

  load(key: ExpertKey, kind: LoadKind): void {
    const slices = this.#places.layers[Math.floor(key / this.#experts)];
    const expert = key % this.#experts;
    this.#loading[key] = LOADING;
    for (let stage = 0; stage < slices.length; stage++) {
      const { file, offset, strideBytes } = slices[stage];
      const start = offset + expert * strideBytes;
      const cover = coveringPages(start, strideBytes, PAGE_BYTES);
      const own = ownPages(start, strideBytes, PAGE_BYTES);
      const at = key * this.stages + stage;
      this.#pending[at] = Math.ceil((cover.end - cover.start) / REQUEST_BYTES);
      this.#submitted[at] = 0;
      const ownBytes = own.end - own.start;
      const address = this.#places.files[file].base + own.start;
      const moved = this.#takePages(at, address, ownBytes);
      if (moved === 0 && this.#movable[at] === 0) this.#wantHugePages(address, ownBytes, cover.end - cover.start);
      // Without a donor fresh pages appear in the mappings that are there, so an old border stays where it is.
      if (moved > 0) this.#movable[at] = moved;
      else if (this.#movable[at] === 0) this.#movable[at] = ownBytes;
      this.#heldBytes += ownBytes - moved;
    }
    // Donors of another size than what is loaded (mixed quantisations) would otherwise add up beside the experts.
    for (let donor: Donor | undefined; this.#heldBytes > this.#budgetBytes; this.#free(donor.address, donor.bytes)) {
      donor = this.#donors.pop();
      if (donor === undefined) break;
    }
    if (kind === "demand") this.#demanded[this.#demandedCount++] = key;
    else this.#enqueueSpeculative(key);
  }

  promote(key: ExpertKey): void {
    if (this.#removeSpeculative(key)) this.#demanded[this.#demandedCount++] = key;
    else if (this.#loading[key] === CANCELLED) this.#restart(key);
  }

  cancel(key: ExpertKey): "done" | "pending" | "refused" {
    const cancelled = this.#loading[key] === CANCELLED;
    if (!this.#removeSpeculative(key) && !cancelled) return "refused";
    let inFlight = 0;
    let calledOff = 0;
    for (let stage = 0; stage < this.stages; stage++) {
      const at = key * this.stages + stage;
      const unsubmitted = this.#requests(key, stage) - this.#submitted[at];
      this.#pending[at] -= unsubmitted;
      this.#submitted[at] += unsubmitted;
      calledOff += unsubmitted;
      inFlight += this.#pending[at];
    }
    if (calledOff === 0 && !cancelled) return "refused";
    if (inFlight > 0) {
      this.#loading[key] = CANCELLED;
      return "pending";
    }
    this.#loading[key] = IDLE;
    this.evict(key);
    return "done";
  }

  evict(key: ExpertKey): void {
    const slices = this.#places.layers[Math.floor(key / this.#experts)];
    const expert = key % this.#experts;
    for (let stage = 0; stage < slices.length; stage++) {
      const { file, offset, strideBytes } = slices[stage];
      const own = ownPages(offset + expert * strideBytes, strideBytes, PAGE_BYTES);
      const address = this.#places.files[file].base + own.start;
      const bytes = own.end - own.start;
      if (bytes === 0) continue;
      const at = key * this.stages + stage;
      const movable = this.recycling ? this.#movable[at] : 0;
      if (movable > 0) this.#donors.push({ at, from: 0, address, bytes: movable });
      if (movable < bytes) this.#free(address + movable, bytes - movable);
    }
  }

  pump(speculativeBytes: number): void {
    if (!this.#submitDemanded()) return;
    while (this.#speculativeCount > 0 && this.inFlightBytes < speculativeBytes && this.#reads.free > 0) {
      const key = this.#speculative[this.#speculativeHead] as ExpertKey;
      let more = false;
      for (let stage = 0; stage < this.stages && !more; stage++) more = this.#submitNext(key, stage);
      if (!more) this.#removeSpeculative(key);
    }
  }

  poll(): void {
    if (this.#reads.inFlight > 0) this.#reads.reap(0);
  }

  ready(key: ExpertKey, stage: number): boolean {
    return this.#pending[key * this.stages + stage] === 0;
  }

  wait(key: ExpertKey, stage: number): void {
    const at = key * this.stages + stage;
    while (this.#pending[at] > 0 && this.failure === undefined) {
      // A full queue held some back, or the expert has found room only just now, or nobody promoted it.
      this.#submitDemanded();
      if (this.#reads.inFlight === 0) this.promote(key);
      else this.#reads.reap(1);
    }
  }

  waitForAny(): void {
    this.#submitDemanded();
    if (this.#reads.inFlight > 0) this.#reads.reap(1);
  }

  get inFlightBytes(): number {
    return this.counters.bytesRead - this.counters.bytesArrived;
  }

  get backlogBytes(): number {
    let requests = 0;
    for (let i = 0; i < this.#speculativeCount; i++) {
      const key = this.#speculative[(this.#speculativeHead + i) % this.#speculative.length] as ExpertKey;
      for (let stage = 0; stage < this.stages; stage++)
        requests += this.#requests(key, stage) - this.#submitted[key * this.stages + stage];
    }
    return requests * REQUEST_BYTES;
  }

  close(): void {
    this.#reads.close();
  }

  /** To be given to the read engine as its `ReadDone`, for tags that `OwnedMemory` submitted. */
  finished(tag: number, bytes: number, error: ReadFailure | undefined): void {
    this.counters.bytesArrived += bytes;
    if (error !== undefined) this.failure ??= error;
    this.#pending[tag]--;
    if (this.#pending[tag] > 0) return;
    const key = Math.floor(tag / this.stages) as ExpertKey;
    for (let stage = 0; stage < this.stages; stage++) if (this.#pending[key * this.stages + stage] > 0) return;
    if (this.#loading[key] !== LOADING) return;
    this.#loading[key] = IDLE;
    this.#places.onComplete(key);
  }

  /**
   * Submits demanded requests while the queue has room; true when all are submitted. Stage by stage over all demanded
   * experts: the first matrix product needs the first stage of each of them.
   */
  #submitDemanded(): boolean {
    for (let stage = 0; stage < this.stages; stage++)
      for (let i = 0; i < this.#demandedCount; i++)
        do if (this.#reads.free === 0) return this.#forgetSubmitted();
        while (this.#submitNext(this.#demanded[i] as ExpertKey, stage));
    this.#demandedCount = 0;
    return true;
  }

  /** An expert that stayed in the list could be read, evicted and demanded again, and be in it twice. */
  #forgetSubmitted(): false {
    let kept = 0;
    for (let i = 0; i < this.#demandedCount; i++) {
      const key = this.#demanded[i] as ExpertKey;
      let more = false;
      for (let stage = 0; stage < this.stages; stage++)
        if (this.#submitted[key * this.stages + stage] < this.#requests(key, stage)) more = true;
      if (more) this.#demanded[kept++] = key;
    }
    this.#demandedCount = kept;
    return false;
  }

  /** A load that was half called off is wanted after all: let its last reads land, then read all of it again. */
  #restart(key: ExpertKey): void {
    for (let stage = 0; stage < this.stages; stage++) this.wait(key, stage);
    for (let stage = 0; stage < this.stages; stage++) {
      this.#pending[key * this.stages + stage] = this.#requests(key, stage);
      this.#submitted[key * this.stages + stage] = 0;
    }
    this.#loading[key] = LOADING;
    this.#demanded[this.#demandedCount++] = key;
  }

  #requests(key: ExpertKey, stage: number): number {
    const slice = this.#places.layers[Math.floor(key / this.#experts)][stage];
    if (slice === undefined) return 0;
    const cover = coveringPages(
      slice.offset + (key % this.#experts) * slice.strideBytes,
      slice.strideBytes,
      PAGE_BYTES,
    );
    return Math.ceil((cover.end - cover.start) / REQUEST_BYTES);
  }

  /** Submits the next request of a stage; false when all of them are submitted. */
  #submitNext(key: ExpertKey, stage: number): boolean {
    const slice = this.#places.layers[Math.floor(key / this.#experts)][stage];
    if (slice === undefined) return false;
    const at = key * this.stages + stage;
    const cover = coveringPages(
      slice.offset + (key % this.#experts) * slice.strideBytes,
      slice.strideBytes,
      PAGE_BYTES,
    );
    const start = cover.start + this.#submitted[at] * REQUEST_BYTES;
    if (start >= cover.end) return false;
    const bytes = Math.min(REQUEST_BYTES, cover.end - start);
    const file = this.#places.files[slice.file];
    this.#submitted[at]++;
    this.counters.bytesRead += bytes;
    this.counters.reads++;
    this.#reads.submit(slice.file, start, file.base + start, bytes, Math.min(bytes, file.bytes - start), at);
    return true;
  }

  /**
   * Fills the own pages of a slice, [address, address + bytes), with pages of an evicted expert as far as one donor
   * reaches; returns those bytes, counted from the first.
   */
  #takePages(at: number, address: number, bytes: number): number {
    if (bytes === 0) return 0;
    const kept = this.#withdraw(at);
    const donor = kept > 0 || !this.recycling ? undefined : this.#bestDonor(bytes);
    const moved = donor === undefined ? kept : this.#move(donor, at, address, bytes);
    this.counters.recycledBytes += moved;
    this.counters.freshBytes += bytes - moved;
    return moved;
  }

  /**
   * A slice whose pages wait for a new owner is loaded again: the waiting ones are in its place, so they stay there and
   * nobody else may take them. Returns the bytes from its first page on that are there.
   */
  #withdraw(at: number): number {
    let kept = 0;
    for (let i = this.#donors.length - 1; i >= 0; i--) {
      const donor = this.#donors[i];
      if (donor.at !== at) continue;
      this.#removeDonor(i);
      if (donor.from === 0) kept = donor.bytes;
      else this.#free(donor.address, donor.bytes);
    }
    return kept;
  }

  #move(donor: Donor, at: number, address: number, bytes: number): number {
    const moved = Math.min(bytes, donor.bytes);
    const rest = donor.bytes - moved;
    if (!this.#mayMove(donor.at, at)) {
      this.#free(donor.address, donor.bytes);
      return 0;
    }
    if (!movePages(donor.address, address, moved)) {
      this.recycling = false;
      this.#free(donor.address, donor.bytes);
      return 0;
    }
    if (rest > 0) this.#movable[donor.at] = Math.min(this.#movable[donor.at], donor.from + moved);
    if (rest >= SMALLEST_DONOR_BYTES)
      this.#donors.push({ at: donor.at, from: donor.from + moved, address: donor.address + moved, bytes: rest });
    else if (rest > 0) this.#free(donor.address + moved, rest);
    return moved;
  }

  #mayMove(from: number, to: number): boolean {
    const more = (this.#split[from] === 0 ? 1 : 0) + (this.#split[to] === 0 ? 1 : 0);
    if (this.#splitCount + more > this.#splitLimit) return false;
    this.#splitCount += more;
    this.#split[from] = 1;
    this.#split[to] = 1;
    return true;
  }

  /**
   * The first pages of an expert come from the kernel, zeroed: 2 MiB at a time that costs a tenth of what 4 KiB pages do.
   * Only if a page shared with a neighbour lies on either side: else the neighbours' ranges would become one mapping, and a
   * huge page could reach into an expert that is not there.
   */
  #wantHugePages(address: number, ownBytes: number, coverBytes: number): void {
    if (ownBytes >= 2 * HUGE_PAGE_BYTES && coverBytes === ownBytes + 2 * PAGE_BYTES)
      tryAdviseMemory(address, ownBytes, MADV_HUGEPAGE);
  }

  #free(address: number, bytes: number): void {
    adviseMemory(address, bytes, MADV_DONTNEED);
    this.#heldBytes -= bytes;
  }

  /** The smallest donor that covers `bytes` up to a page, else the largest; removed from the list. */
  #bestDonor(bytes: number): Donor | undefined {
    let best = -1;
    for (let i = 0; i < this.#donors.length; i++) {
      const size = this.#donors[i].bytes;
      const bestSize = best < 0 ? -1 : this.#donors[best].bytes;
      const covers = size >= bytes - PAGE_BYTES;
      const bestCovers = bestSize >= bytes - PAGE_BYTES;
      if (best < 0 || (covers && (!bestCovers || size < bestSize)) || (!covers && !bestCovers && size > bestSize))
        best = i;
    }
    if (best < 0) return undefined;
    return this.#removeDonor(best);
  }

  #removeDonor(index: number): Donor {
    const donor = this.#donors[index];
    const last = this.#donors.pop() as Donor;
    if (index < this.#donors.length) this.#donors[index] = last;
    return donor;
  }

  #enqueueSpeculative(key: ExpertKey): void {
    const tail = (this.#speculativeHead + this.#speculativeCount++) % this.#speculative.length;
    this.#speculative[tail] = key;
  }

  #removeSpeculative(key: ExpertKey): boolean {
    const size = this.#speculative.length;
    for (let i = 0; i < this.#speculativeCount; i++) {
      if (this.#speculative[(this.#speculativeHead + i) % size] !== key) continue;
      if (i === 0) this.#speculativeHead = (this.#speculativeHead + 1) % size;
      else
        for (let j = i; j + 1 < this.#speculativeCount; j++)
          this.#speculative[(this.#speculativeHead + j) % size] =
            this.#speculative[(this.#speculativeHead + j + 1) % size];
      this.#speculativeCount--;
      return true;
    }
    return false;
  }
}
