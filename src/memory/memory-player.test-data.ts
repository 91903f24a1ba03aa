/** Plays the cache's part at random over memory of our own, and checks what is in memory. */
import { expect } from "vitest";
import type { ExpertKey } from "../cache/shape.ts";
import { expectBytes, expectStage, type Opened } from "./opened-memory.test-data.ts";

/** Loads what is absent, evicts what is complete, never more than the budget. */
export class MemoryPlayer {
  readonly #opened: Opened;
  readonly #random: () => number;
  readonly #budgetBytes: number;
  readonly #resident = new Set<number>();
  readonly #speculative = new Set<number>();
  readonly #demanded = new Set<number>();
  readonly #calledOff = new Set<number>();

  constructor(opened: Opened, random: () => number, budgetBytes: number) {
    this.#opened = opened;
    this.#random = random;
    this.#budgetBytes = budgetBytes;
  }

  step(): void {
    const { memory } = this.#opened;
    const action = Math.floor(this.#random() * 10);
    if (action < 3) this.#load(action === 0 ? "prefetch" : "demand");
    else if (action === 3) this.#evict(this.#resident);
    else if (action === 4) memory.pump(this.#random() * 3e6);
    else if (action === 5) memory.poll();
    else if (action === 6) this.#cancel();
    else if (action === 7) this.#promote();
    else if (action === 8) memory.waitForAny();
    else this.#waitForOne();
    this.#takeNote();
  }

  /** Everything demanded arrives; what is in memory is checked. */
  settle(): void {
    const { memory, file } = this.#opened;
    memory.pump(Number.MAX_SAFE_INTEGER);
    for (const key of [...this.#demanded, ...this.#speculative])
      for (let stage = 0; stage < file.slicesOf(key).length; stage++) memory.wait(key as ExpertKey, stage);
    while (memory.inFlightBytes > 0) memory.waitForAny();
    this.#takeNote();
    for (const key of this.#calledOff) {
      expect(memory.cancel(key as ExpertKey)).toBe("done");
      this.#calledOff.delete(key);
    }
    expect(this.#demanded.size + this.#speculative.size).toBe(0);
    for (const key of this.#resident) expectBytes(this.#opened, key);
    expect(this.#opened.residentBytes()).toBeLessThanOrEqual(this.#budgetBytes + this.#opened.slackBytes);
  }

  #takeNote(): void {
    const { completed } = this.#opened;
    for (const key of completed) {
      // A load that was called off is never announced.
      expect(this.#demanded.delete(key) || this.#speculative.delete(key)).toBe(true);
      this.#resident.add(key);
    }
    completed.clear();
  }

  #load(kind: "demand" | "prefetch"): void {
    const { file } = this.#opened;
    const key = Math.floor(this.#random() * file.keys);
    if ([this.#resident, this.#demanded, this.#speculative, this.#calledOff].some((keys) => keys.has(key))) return;
    while (this.#usedBytes() + file.bytesOf(key) > this.#budgetBytes) if (!this.#evict(this.#resident)) return;
    this.#opened.memory.load(key as ExpertKey, kind);
    (kind === "demand" ? this.#demanded : this.#speculative).add(key);
  }

  #evict(from: Set<number>): boolean {
    const key = this.#any(from);
    if (key === undefined) return false;
    this.#resident.delete(key);
    this.#opened.memory.evict(key as ExpertKey);
    return true;
  }

  #cancel(): void {
    const key = this.#any(this.#speculative) ?? this.#any(this.#calledOff);
    if (key === undefined) return;
    const outcome = this.#opened.memory.cancel(key as ExpertKey);
    if (outcome === "refused") expect(this.#calledOff.has(key)).toBe(false);
    else this.#speculative.delete(key);
    if (outcome === "pending") this.#calledOff.add(key);
    if (outcome === "done") this.#calledOff.delete(key);
  }

  #promote(): void {
    const key = this.#any(this.#calledOff) ?? this.#any(this.#speculative);
    if (key === undefined) return;
    this.#speculative.delete(key);
    this.#calledOff.delete(key);
    this.#demanded.add(key);
    this.#opened.memory.promote(key as ExpertKey);
  }

  #waitForOne(): void {
    const key = this.#any(this.#demanded);
    if (key === undefined) return;
    const { memory, file } = this.#opened;
    const stage = Math.floor(this.#random() * file.slicesOf(key).length);
    memory.wait(key as ExpertKey, stage);
    expect(memory.ready(key as ExpertKey, stage)).toBe(true);
    // One stage alone is whole as soon as it is said to be.
    expectStage(this.#opened, key, stage);
  }

  #usedBytes(): number {
    const all = [...this.#resident, ...this.#demanded, ...this.#speculative, ...this.#calledOff];
    return all.reduce((sum, key) => sum + this.#opened.file.bytesOf(key), 0);
  }

  #any(keys: Set<number>): number | undefined {
    return [...keys][Math.floor(this.#random() * keys.size)];
  }
}
