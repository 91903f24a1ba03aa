import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockChain } from "./block-chain.ts";

const tokens = (length: number, seed = 1) => Int32Array.from({ length }, (_, i) => (i * 7919 + seed) % 32_000);
const keyed = (chain: BlockChain) =>
  Array.from({ length: 1 + Math.floor(chain.length / chain.blockTokens) }, (_, block) =>
    Buffer.from(chain.key(block)).toString("hex"),
  );
const chainOf = (all: Int32Array, salt = "a model") => {
  const chain = new BlockChain(salt, 4);
  chain.extend(0, all);
  return chain;
};

describe("keys", () => {
  test("do not depend on how the tokens came, nor on what was gone back from", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40_000), { maxLength: 60 }), fc.array(fc.nat(60)), (list, cuts) => {
        const all = Int32Array.from(list);
        const chain = new BlockChain("a model", 4);
        let at = 0;
        for (const cut of cuts) {
          chain.extend(Math.min(at, cut), tokens(cut, cut));
          at = chain.length;
        }
        // Back to the start, then in two pieces.
        const half = Math.floor(all.length / 2);
        expect(chain.extend(0, all.subarray(0, half))).toBe(true);
        expect(chain.extend(half, all.subarray(half))).toBe(true);
        expect(keyed(chain)).toEqual(keyed(chainOf(all)));
      }),
    );
  });

  test("are shared exactly as far as whole blocks are", () => {
    const all = tokens(20);
    const other = all.slice();
    other[9]++;
    const [a, b] = [keyed(chainOf(all)), keyed(chainOf(other))];
    expect(a.map((key, i) => key === b[i])).toEqual([true, true, true, false, false, false]);
    expect(new Set(a).size).toBe(6);
  });

  test("of another model are others, and so are those of a block that stands elsewhere", () => {
    expect(keyed(chainOf(tokens(8), "another")).some((key) => keyed(chainOf(tokens(8))).includes(key))).toBe(false);
    const twice = chainOf(Int32Array.of(1, 2, 3, 4, 1, 2, 3, 4));
    expect(new Set(keyed(twice)).size).toBe(3);
  });

  test("never change: files of earlier versions are read with them", () => {
    expect(keyed(chainOf(Int32Array.of(1, 2, 3, 4)))).toEqual(FIXED);
  });
});

const FIXED = ["3edab5692ed2f3d7b088ddba37351c14", "4a14c71499a57828e19c31af85399736"];

test("tokens after a gap are not known", () => {
  const chain = chainOf(tokens(6));
  expect(chain.extend(7, tokens(1))).toBe(false);
  expect(chain.length).toBe(0);
  expect(chain.extend(0, tokens(6))).toBe(true);
  expect(() => chain.key(2)).toThrow(RangeError);
});
