/**
 * Expert memory without memory: what `OwnedMemory` does with a drive, in virtual time on a model of one. It takes the
 * same calls from the same `ExpertStream`, puts requests in the same order and answers alike; only that nothing is read.
 */
import type { ExpertKey, ModelShape } from "../cache/shape.ts";
import type { ExpertMemory, LoadKind, MemoryCounters } from "../memory/expert-memory.ts";
import { type DiskModel, DrainCurve } from "./disk-model.ts";
import { Landings } from "./landings.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export interface SimulatedMemoryOptions {
  readonly shape: ModelShape;
  /** Products with expert weights per layer, 2 or 3; an expert's bytes are shared equally between them. */
  readonly stages: number;
  readonly disk: DiskModel;
  readonly clock: VirtualClock;
  /** Time of the model's thread that handing over demanded requests takes: once, and for each of them. */
  readonly msPerHandover: number;
  readonly msPerRequest: number;
  readonly onComplete: (key: ExpertKey) => void;
}

const IDLE = 0;
const LOADING = 1;
const CANCELLED = 2;

export class SimulatedMemory implements ExpertMemory {
  readonly kind = "owned" as const;
  readonly stages: number;
  readonly counters: MemoryCounters = { bytesRead: 0, bytesArrived: 0, reads: 0, recycledBytes: 0, freshBytes: 0 };
  readonly failure = undefined;
  /** Time spent waiting for reads, ms since the start. */
  waitedMs = 0;
  /** Time spent handing over requests, ms since the start. */
  submittingMs = 0;

  readonly #experts: number;
  readonly #clock: VirtualClock;
  readonly #curve: DrainCurve;
  readonly #requestBytes: number;
  readonly #msPerHandover: number;
  readonly #msPerRequest: number;
  readonly #onComplete: (key: ExpertKey) => void;
  /** By layer, of one slice: its bytes, its requests, and what they count as on the drain curve. */
  readonly #sliceBytes: Float64Array;
  readonly #sliceRequests: Int32Array;
  readonly #sliceLevel: Float64Array;

  readonly #reportsEvery: number;
  /**
   * All requests ever handed over stand in one line. It has been served up to `#served`, the drive has told of it up to
   * `#told`, and it ends at `#end`; all in full requests, as the drain curve counts.
   */
  #served = 0;
  #told = 0;
  #end = 0;
  /** When `#served` was true. */
  #servedAt = 0;
  /** What has not landed yet, in the order of the line. */
  readonly #landings = new Landings();

  /** Per (key, stage): requests handed over so far, and the place in the line of the last of them. */
  readonly #submitted: Int32Array;
  readonly #lastPlace: Float64Array;
  /** Per (key, stage): 1 until all of it has landed. */
  readonly #pending: Uint8Array;
  /** Per key: how many of those are 1. */
  readonly #missing: Uint8Array;
  /** Per key: entries of `#landings`. */
  readonly #inFlight: Int32Array;
  readonly #loading: Uint8Array;
  readonly #demanded: Int32Array;
  #demandedCount = 0;
  readonly #speculative: Int32Array;
  #speculativeHead = 0;
  #speculativeCount = 0;
  /** Requests of speculative loads that were not handed over. */
  #backlog = 0;

  constructor({ shape, stages, disk, clock, msPerHandover, msPerRequest, onComplete }: SimulatedMemoryOptions) {
    const keys = shape.layers * shape.experts;
    this.stages = stages;
    this.#experts = shape.experts;
    this.#clock = clock;
    this.#curve = new DrainCurve(disk);
    this.#requestBytes = disk.requestBytes;
    this.#reportsEvery = disk.reportsEvery;
    this.#msPerHandover = msPerHandover;
    this.#msPerRequest = msPerRequest;
    this.#onComplete = onComplete;
    this.#sliceBytes = Float64Array.from(shape.expertBytes, (bytes) => bytes / stages);
    this.#sliceRequests = Int32Array.from(this.#sliceBytes, (bytes) => Math.ceil(bytes / disk.requestBytes));
    this.#sliceLevel = this.#sliceBytes.map((bytes) => this.#curve.levelOf(bytes));
    this.#submitted = new Int32Array(keys * stages);
    this.#lastPlace = new Float64Array(keys * stages);
    this.#pending = new Uint8Array(keys * stages);
    this.#missing = new Uint8Array(keys);
    this.#inFlight = new Int32Array(keys);
    this.#loading = new Uint8Array(keys);
    this.#demanded = new Int32Array(keys);
    this.#speculative = new Int32Array(keys);
    this.#servedAt = clock.ms;
  }

  load(key: ExpertKey, kind: LoadKind): void {
    this.#start(key);
    if (kind === "demand") this.#demanded[this.#demandedCount++] = key;
    else {
      this.#speculative[(this.#speculativeHead + this.#speculativeCount++) % this.#speculative.length] = key;
      this.#backlog += this.stages * this.#requestsOf(key);
    }
  }

  promote(key: ExpertKey): void {
    if (this.#speculativeCount > 0 && this.#removeSpeculative(key)) this.#demanded[this.#demandedCount++] = key;
    else if (this.#loading[key] === CANCELLED) this.#restart(key);
  }

  cancel(key: ExpertKey): "done" | "pending" | "refused" {
    const cancelled = this.#loading[key] === CANCELLED;
    const unsubmitted = this.#unsubmitted(key);
    if (!this.#removeSpeculative(key) && !cancelled) return "refused";
    if (unsubmitted === 0 && !cancelled) return "refused";
    this.#submitted.fill(this.#requestsOf(key), key * this.stages, (key + 1) * this.stages);
    if (this.#inFlight[key] > 0) {
      this.#loading[key] = CANCELLED;
      return "pending";
    }
    this.#loading[key] = IDLE;
    return "done";
  }

  evict(): void {}

  pump(speculativeBytes: number): void {
    this.#submitDemanded();
    while (this.#speculativeCount > 0 && this.inFlightBytes < speculativeBytes) {
      const key = this.#speculative[this.#speculativeHead] as ExpertKey;
      if (this.#submitOne(key)) this.#backlog--;
      else this.#removeSpeculative(key);
    }
  }

  poll(): void {
    if (this.#landings.count === 0) return;
    this.#catchUp();
    this.#land();
  }

  ready(key: ExpertKey, stage: number): boolean {
    return this.#pending[key * this.stages + stage] === 0;
  }

  wait(key: ExpertKey, stage: number): void {
    const at = key * this.stages + stage;
    while (!this.ready(key, stage)) {
      // It may have found room only just now, or nobody promoted it.
      this.#submitDemanded();
      if (this.#submitted[at] === this.#requestsOf(key)) this.#waitUntil(this.#lastPlace[at]);
      else if (this.#landings.count === 0) this.promote(key);
      else this.#waitUntil(this.#landings.firstPlace);
    }
  }

  waitForAny(): void {
    this.#submitDemanded();
    if (this.#landings.count > 0) this.#waitUntil(this.#landings.firstPlace);
  }

  get backlogBytes(): number {
    return this.#backlog * this.#requestBytes;
  }

  get inFlightBytes(): number {
    return this.counters.bytesRead - this.counters.bytesArrived;
  }

  close(): void {}

  #start(key: ExpertKey): void {
    this.#loading[key] = LOADING;
    this.#missing[key] = this.stages;
    const first = key * this.stages;
    for (let at = first; at < first + this.stages; at++) {
      this.#submitted[at] = 0;
      this.#pending[at] = 1;
    }
  }

  /** Stage by stage over all demanded experts: the first product needs the first stage of each of them. */
  #submitDemanded(): void {
    if (this.#demandedCount === 0) return;
    this.#spend(this.#msPerHandover);
    for (let stage = 0; stage < this.stages; stage++)
      for (let i = 0; i < this.#demandedCount; i++) {
        const key = this.#demanded[i] as ExpertKey;
        const layer = this.#layerOf(key);
        const at = key * this.stages + stage;
        const submitted = this.#submitted[at];
        const requests = this.#sliceRequests[layer];
        if (submitted === requests) continue;
        this.#submitted[at] = requests;
        this.#queue(
          at,
          requests - submitted,
          this.#sliceBytes[layer] - submitted * this.#requestBytes,
          this.#sliceLevel[layer] - submitted,
        );
      }
    this.#demandedCount = 0;
  }

  /** The next request of a load; false when all of them are handed over. */
  #submitOne(key: ExpertKey): boolean {
    const requests = this.#requestsOf(key);
    const layer = this.#layerOf(key);
    for (let at = key * this.stages; at < (key + 1) * this.stages; at++) {
      const submitted = this.#submitted[at];
      if (submitted === requests) continue;
      this.#submitted[at] = submitted + 1;
      const last = submitted + 1 === requests;
      const bytes = last ? this.#sliceBytes[layer] - submitted * this.#requestBytes : this.#requestBytes;
      this.#queue(at, 1, bytes, last ? this.#sliceLevel[layer] - submitted : 1);
      return true;
    }
    return false;
  }

  /** Puts requests of one stage of one expert at the end of the line. */
  #queue(at: number, requests: number, bytes: number, level: number): void {
    this.#catchUp();
    this.#end += level;
    this.#lastPlace[at] = this.#end;
    this.#landings.push(this.#end, at, bytes);
    this.#inFlight[(at / this.stages) | 0]++;
    this.counters.bytesRead += bytes;
    this.counters.reads += requests;
    // The drive has begun while the rest is still being handed over.
    this.#spend(requests * this.#msPerRequest);
  }

  #spend(ms: number): void {
    this.#clock.ms += ms;
    this.submittingMs += ms;
  }

  /** Lets the drive do what it has done since it was last looked at. */
  #catchUp(): void {
    const now = this.#clock.ms;
    const elapsedMs = now - this.#servedAt;
    if (elapsedMs === 0) return;
    this.#servedAt = now;
    if (this.#served === this.#end) return;
    const left = this.#curve.level(this.#curve.ms(this.#end - this.#served) - elapsedMs);
    // Never back, not even by a rounding error: what has landed stays landed.
    this.#served = Math.max(this.#served, this.#end - left);
    this.#told = this.#toldOf(this.#served);
  }

  /** Up to where the drive has told when it has served so far. */
  #toldOf(served: number): number {
    if (this.#reportsEvery <= 1 || served === this.#end) return served;
    return this.#told + Math.floor((served - this.#told) / this.#reportsEvery) * this.#reportsEvery;
  }

  /** How far the drive has to serve until it tells of this place. */
  #tellsOf(place: number): number {
    if (this.#reportsEvery <= 1) return place;
    const reports = Math.ceil((place - this.#told) / this.#reportsEvery);
    return Math.min(this.#end, this.#told + reports * this.#reportsEvery);
  }

  #waitUntil(place: number): void {
    this.#catchUp();
    if (this.#told < place) {
      const to = this.#tellsOf(place);
      const ms = this.#curve.ms(this.#end - this.#served) - this.#curve.ms(this.#end - to);
      this.#clock.ms += ms;
      this.waitedMs += ms;
      this.#servedAt = this.#clock.ms;
      this.#served = to;
      this.#told = to;
    }
    this.#land();
  }

  /** Takes note of what has landed. */
  #land(): void {
    const landings = this.#landings;
    while (landings.count > 0 && landings.firstPlace <= this.#told) {
      const at = landings.firstStage;
      const place = landings.firstPlace;
      const key = ((at / this.stages) | 0) as ExpertKey;
      this.counters.bytesArrived += landings.firstBytes;
      landings.shift();
      this.#inFlight[key]--;
      if (place !== this.#lastPlace[at] || this.#submitted[at] !== this.#requestsOf(key)) continue;
      this.#pending[at] = 0;
      if (this.#loading[key] !== LOADING || --this.#missing[key] > 0) continue;
      this.#loading[key] = IDLE;
      this.#onComplete(key);
    }
    // Bytes of unequal slices do not add up exactly.
    if (landings.count === 0) this.counters.bytesArrived = this.counters.bytesRead;
  }

  /** A load that was half called off is wanted after all: let its last reads land, then read all of it again. */
  #restart(key: ExpertKey): void {
    while (this.#inFlight[key] > 0) this.#waitUntil(this.#landings.firstPlace);
    this.#start(key);
    this.#demanded[this.#demandedCount++] = key;
  }

  #unsubmitted(key: ExpertKey): number {
    let requests = this.stages * this.#requestsOf(key);
    for (let at = key * this.stages; at < (key + 1) * this.stages; at++) requests -= this.#submitted[at];
    return requests;
  }

  #removeSpeculative(key: ExpertKey): boolean {
    const line = this.#speculative;
    for (let i = 0; i < this.#speculativeCount; i++) {
      if (line[(this.#speculativeHead + i) % line.length] !== key) continue;
      if (i === 0) this.#speculativeHead = (this.#speculativeHead + 1) % line.length;
      else
        for (let j = i; j + 1 < this.#speculativeCount; j++)
          line[(this.#speculativeHead + j) % line.length] = line[(this.#speculativeHead + j + 1) % line.length];
      this.#speculativeCount--;
      this.#backlog -= this.#unsubmitted(key);
      return true;
    }
    return false;
  }

  #requestsOf(key: ExpertKey): number {
    return this.#sliceRequests[this.#layerOf(key)];
  }

  #layerOf(key: ExpertKey): number {
    return (key / this.#experts) | 0;
  }
}
