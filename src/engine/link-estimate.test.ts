import { describe, expect, test } from "vitest";
import { randomNumbers } from "../cache/replay.test-data.ts";
import { LinkEstimate } from "./link-estimate.ts";

const MIB = 2 ** 20;
const BYTES_PER_MS = 2.3e6;

/**
 * A drive that serves requests of 1 MiB one after the other at one speed, and tells of so many at a time, or of the last.
 * Time passes only when somebody waits or computes.
 */
class Drive {
  readonly link = new LinkEstimate();
  now = 1;
  #requests = 0;
  #served = 0;
  #told = 0;
  #idleSince = 1;
  readonly #tellsOf: number;

  constructor(tellsOf: number) {
    this.#tellsOf = tellsOf;
  }

  submit(requests: number): void {
    this.#serve();
    if (this.#served === this.#requests) this.#idleSince = this.now;
    this.#requests += requests;
    this.link.handedOver(this.now, this.#told * MIB);
  }

  compute(ms: number): void {
    this.now += ms;
    this.#serve();
    this.link.looked(this.now, this.#told * MIB, this.#told < this.#requests);
  }

  /** Until `left` requests are not told of. */
  wait(left = 0): void {
    this.#serve();
    while (this.#requests - this.#told > left) {
      this.now += 0.05;
      this.#serve();
    }
    this.link.waited(this.now, this.#told * MIB, this.#told < this.#requests);
  }

  #serve(): void {
    const more = Math.floor(((this.now - this.#idleSince) * BYTES_PER_MS) / MIB);
    const served = Math.min(more, this.#requests - this.#served);
    this.#served += served;
    this.#idleSince += (served * MIB) / BYTES_PER_MS;
    if (this.#served === this.#requests) this.#told = this.#served;
    else this.#told += Math.floor((this.#served - this.#told) / this.#tellsOf) * this.#tellsOf;
  }
}

const share = ({ link }: Drive) => link.bytesPerMs / BYTES_PER_MS;

describe.each([1, 40])("the bandwidth of a drive that tells of %d requests at a time", (tellsOf) => {
  test("is right when every layer waits for all it reads", () => {
    const drive = new Drive(tellsOf);
    for (let layer = 0; layer < 100; layer++) {
      drive.submit(25);
      drive.compute(1);
      drive.wait(18);
      drive.wait(9);
      drive.wait();
      drive.compute(4);
    }
    expect(share(drive)).toBeCloseTo(1, 1);
  });

  test("is right when reads ahead keep it busy all the time", () => {
    const drive = new Drive(tellsOf);
    for (let layer = 0; layer < 200; layer++) {
      drive.submit(12);
      drive.wait(30);
      drive.compute(3);
    }
    expect(share(drive)).toBeCloseTo(1, 1);
  });

  test("is not lowered by computing while the drive has long been idle", () => {
    const drive = new Drive(tellsOf);
    for (let layer = 0; layer < 50; layer++) {
      drive.submit(20);
      drive.wait();
    }
    const before = drive.link.bytesPerMs;
    for (let layer = 0; layer < 50; layer++) {
      drive.submit(3);
      drive.compute(40);
    }
    expect(drive.link.bytesPerMs).toBeCloseTo(before, -3);
  });

  test("rises from what was assumed even when nobody ever waits", () => {
    const drive = new Drive(tellsOf);
    for (let layer = 0; layer < 400; layer++) {
      drive.submit(20);
      drive.compute((20 * MIB) / BYTES_PER_MS + 0.1);
    }
    expect(share(drive)).toBeGreaterThan(0.85);
    expect(share(drive)).toBeLessThanOrEqual(1);
  });

  test("is right within a tenth over any mixture", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const random = randomNumbers(seed);
      const drive = new Drive(tellsOf);
      for (let layer = 0; layer < 400; layer++) {
        drive.submit(Math.floor(random() * 40));
        drive.compute(random() * 8);
        if (random() < 0.7) drive.wait(random() < 0.3 ? 10 : 0);
      }
      expect(Math.abs(share(drive) - 1)).toBeLessThan(0.1);
    }
  });
});

test("what nobody saw is not counted", () => {
  const link = new LinkEstimate();
  const { bytesPerMs } = link;
  link.handedOver(1, 0);
  link.lostSight();
  link.waited(2, 100 * MIB, false);
  expect(link.bytesPerMs).toBe(bytesPerMs);
});

test("what fits between two stops is the bandwidth times what the phase computes", () => {
  const link = new LinkEstimate();
  expect(link.windowBytes("decode")).toBe(0);
  link.computed("decode", 4);
  link.computed("prefill", 50);
  expect(link.windowBytes("decode")).toBe(4 * link.bytesPerMs);
  expect(link.windowBytes("prefill")).toBe(50 * link.bytesPerMs);
});
