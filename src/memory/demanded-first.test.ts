/**
 * How long a demanded read can be held up by reads ahead: by what the drive has been given already, requests of at most
 * 1 MiB, and by nothing that is still queued. With a drive that takes one request at a time that is one chunk.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { ExpertKey } from "../cache/shape.ts";
import { HUGE_PAGE_BYTES, placeInSlots, planSlots } from "./expert-placement.ts";
import { PAGE_BYTES, releaseMemory, reserveMemory } from "./libc.ts";
import { OwnedMemory } from "./owned-memory.ts";
import { ceilTo } from "./page-plan.ts";
import type { ReadDone, ReadEngine } from "./read-engine.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "demanded-first-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const MIB = 1 << 20;
/** Three matrices of two and a half requests each. */
const MATRIX_BYTES = 2.5 * MIB;
const EXPERTS = 4;

/** A drive that takes `depth` requests and finishes them in order, one when asked. */
class SlowDrive implements ReadEngine {
  readonly name = "aio" as const;
  readonly log: { readonly key: number; readonly bytes: number }[] = [];
  readonly #depth: number;
  readonly #done: ReadDone;
  readonly #waiting: { readonly tag: number; readonly bytes: number }[] = [];

  constructor(depth: number, done: ReadDone) {
    this.#depth = depth;
    this.#done = done;
  }

  get free(): number {
    return this.#depth - this.#waiting.length;
  }

  get inFlight(): number {
    return this.#waiting.length;
  }

  submit(_file: number, _offset: number, _address: number, bytes: number, _expected: number, tag: number): void {
    this.#waiting.push({ tag, bytes });
    this.log.push({ key: Math.floor(tag / 3), bytes });
  }

  reap(atLeast: number): number {
    for (let i = 0; i < atLeast; i++) {
      const { tag, bytes } = this.#waiting.shift() as { tag: number; bytes: number };
      this.#done(tag, bytes, undefined);
    }
    return atLeast;
  }

  close(): void {}
}

function open(depth: number) {
  const slices = [[0, 1, 2].map((i) => ({ file: 0, offset: i * EXPERTS * MATRIX_BYTES, strideBytes: MATRIX_BYTES }))];
  const bytes = 3 * EXPERTS * MATRIX_BYTES;
  const path = join(folder, "experts");
  fs.writeFileSync(path, "");
  const slots = planSlots(slices, EXPERTS, PAGE_BYTES);
  if (slots === undefined) throw new Error("whole pages fit into slots");
  const room = slots.bytes + HUGE_PAGE_BYTES;
  const address = reserveMemory(room);
  const files = [{ path, bytes, base: 0 }];
  const placement = placeInSlots(files, slices, EXPERTS, PAGE_BYTES, slots, ceilTo(address, HUGE_PAGE_BYTES));
  const drive = new SlowDrive(depth, (tag, read, error) => memory.finished(tag, read, error));
  const memory: OwnedMemory = new OwnedMemory({ placement, reads: drive, onComplete: () => {}, budgetBytes: bytes });
  return { memory, drive, [Symbol.dispose]: () => releaseMemory(address, room) };
}

const AHEAD = 0 as ExpertKey;
const NEEDED = 1 as ExpertKey;

test.each([1, 4])("a demanded read waits for what a drive of depth %i was given, and for no more", (depth) => {
  using opened = open(depth);
  const { memory, drive } = opened;
  memory.load(AHEAD, "prefetch");
  memory.pump(Number.POSITIVE_INFINITY);
  expect(drive.log.map(({ key }) => key)).toEqual(new Array(depth).fill(AHEAD));
  memory.load(NEEDED, "demand");
  memory.pump(Number.POSITIVE_INFINITY);
  memory.wait(NEEDED, 0);
  memory.wait(NEEDED, 2);
  const order = drive.log.map(({ key }) => key);
  // Nine requests of the demanded expert, one after the other, right behind what was on its way.
  expect(order.slice(depth, depth + 9)).toEqual(new Array(9).fill(NEEDED));
  for (const { bytes } of drive.log) expect(bytes).toBeLessThanOrEqual(MIB);
});

test("reads ahead for the running layer that were right go first, too, and wrong ones are called off", () => {
  using opened = open(1);
  const { memory, drive } = opened;
  const [wrong, right, later] = [0, 1, 2] as ExpertKey[];
  for (const key of [wrong, later, right]) memory.load(key, "prefetch");
  memory.pump(Number.POSITIVE_INFINITY);
  expect(memory.cancel(wrong)).toBe("pending");
  memory.promote(right);
  memory.wait(right, 2);
  expect(drive.log.map(({ key }) => key)).toEqual([wrong, ...new Array(9).fill(right)]);
  expect(memory.cancel(wrong)).toBe("done");
});
