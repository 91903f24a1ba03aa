/**
 * The seam between the cache, which decides what is in memory, and the ways to make it so: memory of our own filled
 * by direct reads (`owned-memory.ts`) or the kernel's page cache (`page-cache-memory.ts`). It knows experts and bytes,
 * not policies. An expert arrives in stages, one per weight tensor in the order in which the graph multiplies with
 * them, so that the first product can run while the rest is still being read.
 */
import type { ExpertKey } from "../cache/shape.ts";
import type { ReadFailure } from "./read-engine.ts";

export type LoadKind = "demand" | "prefetch";

export interface ExpertMemory {
  readonly kind: "owned" | "page-cache";
  /** Stages per expert: 3 with separate up, gate and down, 2 with gate and up fused. */
  readonly stages: number;
  readonly counters: MemoryCounters;
  /** The first read that failed, if any. Results are not to be trusted from then on. */
  readonly failure: ReadFailure | undefined;
  /** Makes room for an expert and queues its reads; nothing is read before `pump`. */
  load(key: ExpertKey, kind: LoadKind): void;
  /** A queued or running speculative load is now demanded: its remaining reads go first. */
  promote(key: ExpertKey): void;
  /**
   * Gives up a speculative load. "done": its pages are given back; "pending": requests of it are still in flight, ask
   * again later; "refused": all of it is on its way, so it may as well arrive.
   */
  cancel(key: ExpertKey): "done" | "pending" | "refused";
  /** Gives back the pages that belong to this expert alone. The expert must be complete. */
  evict(key: ExpertKey): void;
  /** Starts all demanded reads, then speculative ones as long as less than `speculativeBytes` are in flight. */
  pump(speculativeBytes: number): void;
  /** Takes note of finished reads without waiting; `onComplete` is called for every expert that is now whole. */
  poll(): void;
  /** True when this stage of the expert is in memory. */
  ready(key: ExpertKey, stage: number): boolean;
  /** Waits until this stage of the expert is in memory, or a read has failed. */
  wait(key: ExpertKey, stage: number): void;
  /** Waits for at least one read in flight; returns at once when there is none. */
  waitForAny(): void;
  /** Speculative bytes that are queued and not yet submitted. */
  readonly backlogBytes: number;
  readonly inFlightBytes: number;
  close(): void;
}

export interface MemoryCounters {
  /** Bytes asked of the file, rounded outward to pages. */
  bytesRead: number;
  /** Of those, bytes that have arrived. */
  bytesArrived: number;
  reads: number;
  /** Pages that were moved from an evicted expert to a new one instead of being freed and faulted in. */
  recycledBytes: number;
  /** Pages that had to be faulted in and zeroed by the kernel. */
  freshBytes: number;
}

/** Where one weight tensor of a layer lies; `slices` of a layer are in stage order. */
export interface SlicePlace {
  /** Index into the model's files. */
  readonly file: number;
  /** Offset of expert 0 in that file. */
  readonly offset: number;
  readonly strideBytes: number;
}

export interface ModelFile {
  readonly path: string;
  readonly bytes: number;
  /** Address of the file's byte 0 in this process. */
  readonly base: number;
}

/** Everything an implementation needs to know of the model, and whom to tell. */
export interface ExpertPlaces {
  readonly files: readonly ModelFile[];
  /** By MoE layer, in stage order. */
  readonly layers: readonly (readonly SlicePlace[])[];
  readonly expertsPerLayer: number;
  readonly onComplete: (key: ExpertKey) => void;
}
