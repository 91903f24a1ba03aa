import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Randomness } from "../../predict/randomness.ts";
import { theoreticalDlwa } from "./dlwa-theory.test-data.ts";
import { type Cleaning, FlashMap } from "./flash-map.ts";

/** Steady-state write amplification of uniform random writes. */
function measured(utilisation: number, cleaning: Cleaning, seed: number): number {
  const blocks = 2048;
  const blockPages = 64;
  const logicalPages = Math.floor(blocks * blockPages * utilisation);
  const map = new FlashMap({ logicalPages, blockPages, blocks, cleaning });
  const random = new Randomness(seed);
  const write = (count: number) => {
    for (let i = 0; i < count; i++) map.write(Math.floor(random.next() * logicalPages));
  };
  for (let page = 0; page < logicalPages; page++) map.write(page);
  write(3 * blocks * blockPages);
  const { pagesWritten, pagesCopied } = map;
  write(4 * blocks * blockPages);
  return 1 + (map.pagesCopied - pagesCopied) / (map.pagesWritten - pagesWritten);
}

describe("write amplification of random writes", () => {
  test.each([
    [0.25, 1.02],
    [0.5, 1.26],
    [0.66, 1.69],
    [0.8, 2.69],
    [0.9, 5.18],
  ])("Theorem 1 at %d", (utilisation, expected) => {
    expect(theoreticalDlwa(utilisation)).toBeCloseTo(expected, 2);
  });

  test.each([0.25, 0.5, 0.66, 0.8, 0.9])("FIFO cleaning at %d is within 3 percent of Theorem 1", (utilisation) => {
    const ratio = measured(utilisation, "fifo", 1) / theoreticalDlwa(utilisation);
    expect(Math.abs(ratio - 1)).toBeLessThan(0.03);
  });

  // Of an independent simulation with 2,048 blocks of 64 pages.
  test.each([
    [0.25, 1.01],
    [0.5, 1.24],
    [0.66, 1.66],
    [0.8, 2.61],
    [0.9, 4.86],
  ])("greedy cleaning at %d is within 5 percent of %d, and below FIFO", (utilisation, expected) => {
    const greedy = measured(utilisation, "greedy", 2);
    expect(Math.abs(greedy / expected - 1)).toBeLessThan(0.05);
    expect(greedy).toBeLessThan(theoreticalDlwa(utilisation) * 1.01);
  });
});

test("sequential writes are copied never", () => {
  const map = new FlashMap({ logicalPages: 960, blockPages: 32, blocks: 33 });
  for (let turn = 0; turn < 5; turn++) for (let page = 0; page < 960; page++) map.write(page);
  expect(map.pagesCopied).toBe(0);
  expect(map.writeAmplification).toBe(1);
});

const commands = fc.array(fc.record({ page: fc.nat(39), stream: fc.nat(1), trims: fc.boolean() }), {
  minLength: 100,
  maxLength: 600,
});

test("moves keep every page where the map says, and never touch a page twice before its block is erased", () => {
  const blockPages = 4;
  const blocks = 14;
  fc.assert(
    fc.property(commands, fc.constantFrom<Cleaning>("greedy", "fifo"), (steps, cleaning) => {
      /** What the flash holds: version numbers by physical page, programmed in order within a block. */
      const flash = new Int32Array(blocks * blockPages).fill(-1);
      const pointers = new Int32Array(blocks);
      const program = (to: number, value: number) => {
        const block = Math.floor(to / blockPages);
        expect(to % blockPages).toBe(pointers[block]++);
        flash[to] = value;
      };
      const map = new FlashMap({
        ...{ logicalPages: 40, blockPages, blocks, streams: 2, cleaning },
        moves: {
          copied: (_, from, to) => program(to, flash[from]),
          erased: (block) => {
            pointers[block] = 0;
            flash.fill(-1, block * blockPages, (block + 1) * blockPages);
          },
        },
      });
      const model = new Int32Array(40).fill(-1);
      for (const [version, { page, stream, trims }] of steps.entries()) {
        if (trims) {
          map.trim(page);
          model[page] = -1;
        } else {
          program(map.write(page, stream), version);
          model[page] = version;
        }
        for (let i = 0; i < 40; i++) {
          const at = map.locate(i);
          if ((at < 0 ? -1 : flash[at]) !== model[i]) return false;
        }
      }
      return true;
    }),
    { numRuns: 60 },
  );
});

test("no map without room for cleaning", () => {
  const size = { logicalPages: 100, blockPages: 10 };
  expect(() => new FlashMap({ ...size, blocks: 12 })).toThrow(expect.objectContaining({ kind: "bad-options" }));
  expect(new FlashMap({ ...size, blocks: 13 }).writeAmplification).toBe(1);
});
