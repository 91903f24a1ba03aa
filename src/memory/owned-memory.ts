/**
 * Experts in anonymous memory of our own, filled by direct reads. Where they lie is `expert-placement.ts`'s business.
 *
 * Eviction does not give pages back to the kernel: the pages of the victim are moved (mremap) to the expert that
 * takes its place. Reading into fresh pages instead, which the kernel faults in and zeroes, takes 500 us per MiB inside
 * io_submit, on the thread that computes, and holds direct reads to 1.1 GB/s; into pages that were moved it is 38 us and
 * 2.4 GB/s, and moving them takes 1 to 16 us per MiB (`npm run bench:pages`).
 */
import type { ExpertKey } from "../cache/shape.ts";
import type { ExpertMemory, LoadKind, MemoryCounters } from "./expert-memory.ts";
import type { ExpertPlacement } from "./expert-placement.ts";
import {
  adviseMemory,
  MADV_DONTNEED,
  MADV_HUGEPAGE,
  MADV_NOHUGEPAGE,
  mappingLimit,
  movePages,
  PAGE_BYTES,
  tryAdviseMemory,
} from "./libc.ts";
import type { ReadEngine, ReadFailure } from "./read-engine.ts";

/** One request: drives are at full speed from 512 KiB on, and smaller requests let demanded ones overtake sooner. */
const REQUEST_BYTES = 1 << 20;
/** A remainder of a donor under this is freed rather than kept: every piece is a mapping of its own to the kernel. */
const SMALLEST_DONOR_BYTES = 16 * PAGE_BYTES;

export interface OwnedMemoryOptions {
  readonly placement: ExpertPlacement;
  readonly reads: ReadEngine;
  /** Told of every expert that is now whole. */
  readonly onComplete: (key: ExpertKey) => void;
  /** Bytes of pages that may be held, those waiting for a new owner included. */
  readonly budgetBytes: number;
  /** True when waiting should be given up. Asked about once per finished read. @default never */
  readonly aborted?: () => boolean;
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
  /** (key, piece) whose pages these are. */
  readonly at: number;
  /** Offset from the first of them. */
  readonly from: number;
  readonly address: number;
  readonly bytes: number;
}

/**
 * Share of the kernel's limit of mappings (vm.max_map_count, 65,530) that moved pages may take: each piece that gave or
 * got pages is a mapping of its own and cuts the one around it in two. Without mappings left, malloc fails.
 */
const MAPPING_SHARE = 0.7;
const MAPPINGS_PER_PIECE = 2;

export class OwnedMemory implements ExpertMemory {
  readonly kind = "owned" as const;
  readonly stages: number;
  readonly counters: MemoryCounters = { bytesRead: 0, bytesArrived: 0, reads: 0, recycledBytes: 0, freshBytes: 0 };
  failure: ReadFailure | undefined;
  /** False once the kernel refused to move pages (no MREMAP_DONTUNMAP, or its limit of mappings was reached). */
  recycling: boolean;

  readonly #placement: ExpertPlacement;
  readonly #reads: ReadEngine;
  readonly #onComplete: (key: ExpertKey) => void;
  readonly #aborted: () => boolean;
  readonly #pieces: number;
  /** Per (key, stage): requests neither finished nor cancelled. */
  readonly #pending: Uint16Array;
  /** Per (key, stage): requests submitted so far. */
  readonly #submitted: Uint16Array;
  /**
   * Per (key, piece): bytes from the start of its pages that lie in one mapping, which is what one mremap can
   * move; 0: not known yet, all of them. A partial move leaves a border that stays until a whole move replaces it.
   */
  readonly #movable: Float64Array;
  /** Per (key, piece): 1 once its pages are a mapping of their own. */
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
  /** Pages of loaded experts, and donors. */
  #heldBytes = 0;

  constructor(options: OwnedMemoryOptions) {
    const { placement } = options;
    this.#placement = placement;
    this.#reads = options.reads;
    this.#onComplete = options.onComplete;
    this.#aborted = options.aborted ?? (() => false);
    this.#budgetBytes = options.budgetBytes;
    this.recycling = options.recycle ?? true;
    this.stages = placement.stages;
    this.#pieces = placement.pieces;
    this.#pending = new Uint16Array(placement.keys * this.stages);
    this.#submitted = new Uint16Array(placement.keys * this.stages);
    this.#movable = new Float64Array(placement.keys * this.#pieces);
    this.#split = new Uint8Array(placement.keys * this.#pieces);
    this.#splitLimit = ((options.mappingLimit ?? mappingLimit()) * MAPPING_SHARE) / MAPPINGS_PER_PIECE;
    this.#loading = new Uint8Array(placement.keys);
    this.#demanded = new Int32Array(placement.keys);
    this.#speculative = new Int32Array(placement.keys);
    // Where the system hands out huge pages unasked, one would fill the room of experts that are not there.
    for (const { address, bytes } of placement.smallPageRanges) tryAdviseMemory(address, bytes, MADV_NOHUGEPAGE);
  }

  load(key: ExpertKey, kind: LoadKind): void {
    this.#loading[key] = LOADING;
    for (let stage = 0; stage < this.stages; stage++) {
      const at = key * this.stages + stage;
      this.#pending[at] = this.#requests(at);
      this.#submitted[at] = 0;
    }
    for (let piece = 0; piece < this.#pieces; piece++) this.#fill(key * this.#pieces + piece);
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
      const unsubmitted = this.#requests(at) - this.#submitted[at];
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
    const { pieceAddress, pieceBytes } = this.#placement;
    for (let piece = 0; piece < this.#pieces; piece++) {
      const at = key * this.#pieces + piece;
      const address = pieceAddress[at];
      const bytes = pieceBytes[at];
      if (bytes === 0) continue;
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
    while (this.#pending[at] > 0 && this.failure === undefined && !this.#aborted()) {
      // A full queue held some back, or the expert has found room only just now, or nobody promoted it.
      this.#submitDemanded();
      if (this.#reads.inFlight === 0) {
        this.promote(key);
        this.#submitDemanded();
        if (this.#reads.inFlight === 0 && this.#pending[at] > 0 && this.failure === undefined)
          throw new Error(`Nothing reads stage ${stage} of expert ${key}, which is waited for`);
      } else this.#reads.reap(1);
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
        requests += this.#requests(key * this.stages + stage) - this.#submitted[key * this.stages + stage];
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
    this.#onComplete(key);
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
        if (this.#submitted[key * this.stages + stage] < this.#requests(key * this.stages + stage)) more = true;
      if (more) this.#demanded[kept++] = key;
    }
    this.#demandedCount = kept;
    return false;
  }

  /** A load that was half called off is wanted after all: let its last reads land, then read all of it again. */
  #restart(key: ExpertKey): void {
    for (let stage = 0; stage < this.stages; stage++) this.wait(key, stage);
    if (this.#aborted()) return;
    for (let stage = 0; stage < this.stages; stage++) {
      const at = key * this.stages + stage;
      this.#pending[at] = this.#requests(at);
      this.#submitted[at] = 0;
    }
    this.#loading[key] = LOADING;
    this.#demanded[this.#demandedCount++] = key;
  }

  #requests(at: number): number {
    return Math.ceil(this.#placement.readBytes[at] / REQUEST_BYTES);
  }

  /** Submits the next request of a stage; false when all of them are submitted. */
  #submitNext(key: ExpertKey, stage: number): boolean {
    const { files, readFile, readOffset, readBytes, readAddress } = this.#placement;
    const at = key * this.stages + stage;
    const from = this.#submitted[at] * REQUEST_BYTES;
    if (from >= readBytes[at]) return false;
    const bytes = Math.min(REQUEST_BYTES, readBytes[at] - from);
    const offset = readOffset[at] + from;
    const file = readFile[at];
    this.#submitted[at]++;
    this.counters.bytesRead += bytes;
    this.counters.reads++;
    this.#reads.submit(file, offset, readAddress[at] + from, bytes, Math.min(bytes, files[file].bytes - offset), at);
    return true;
  }

  /** Fills a piece with pages of an evicted expert as far as one donor reaches; the kernel adds the rest. */
  #fill(at: number): void {
    const address = this.#placement.pieceAddress[at];
    const bytes = this.#placement.pieceBytes[at];
    if (bytes === 0) return;
    const kept = this.#withdraw(at);
    const donor = kept > 0 || !this.recycling ? undefined : this.#bestDonor(bytes, this.#placement.pieceKind[at]);
    const moved = donor === undefined ? kept : this.#move(donor, at, address, bytes);
    this.counters.recycledBytes += moved;
    this.counters.freshBytes += bytes - moved;
    // The first pages come from the kernel, zeroed: 2 MiB at a time that costs a tenth of what 4 KiB pages do.
    if (moved === 0 && this.#movable[at] === 0 && this.#placement.wantsHugePages[at] === 1 && this.#maySplit(at))
      tryAdviseMemory(address, bytes, MADV_HUGEPAGE);
    // Without a donor fresh pages appear in the mappings that are there, so an old border stays where it is.
    if (moved > 0) this.#movable[at] = moved;
    else if (this.#movable[at] === 0) this.#movable[at] = bytes;
    this.#heldBytes += bytes - moved;
  }

  /**
   * A piece whose pages wait for a new owner is loaded again: the waiting ones are in its place, so they stay there and
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
    if (!this.#maySplit(donor.at) || !this.#maySplit(at)) {
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

  /** Whether the kernel has mappings left for this piece to be one of its own; notes that it is. */
  #maySplit(at: number): boolean {
    if (this.#split[at] === 1) return true;
    if (this.#splitCount + 1 > this.#splitLimit) return false;
    this.#splitCount++;
    this.#split[at] = 1;
    return true;
  }

  #free(address: number, bytes: number): void {
    adviseMemory(address, bytes, MADV_DONTNEED);
    this.#heldBytes -= bytes;
  }

  /** The smallest donor of a kind that covers `bytes` up to a page, else the largest; removed from the list. */
  #bestDonor(bytes: number, kind: number): Donor | undefined {
    const kinds = this.#placement.pieceKind;
    let best = -1;
    for (let i = 0; i < this.#donors.length; i++) {
      if (kinds[this.#donors[i].at] !== kind) continue;
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
