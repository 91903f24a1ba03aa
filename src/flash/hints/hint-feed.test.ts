/** Following a sequence while answers come late: what is waited for, and which block an answer is taken to be of. */
import { expect, test } from "vitest";
import { BlockChain } from "./block-chain.ts";
import { HintFeed } from "./hint-feed.ts";
import type { HintLink } from "./hint-link.ts";
import { SegmentCodec } from "./segment-hint.ts";

const codec = new SegmentCodec({ layers: 1, experts: 4 }, 4);
const hintOf = (uses: number) => codec.encode(new Uint8Array(4).fill(uses));

/** Answers when it is told to. */
function slowLink() {
  const asked: number[] = [];
  const waits: number[] = [];
  const ready: { question: number; hints: (Uint8Array | undefined)[] }[] = [];
  const link: HintLink = {
    ...{ problem: undefined, record() {}, figures: () => ({}), close() {} },
    ask: (keys) => asked.push(keys.length),
    take(waitMs, visit) {
      waits.push(waitMs);
      for (const { question, hints } of ready.splice(0)) visit(question, hints);
    },
  };
  return { link, asked, waits, ready };
}

test("an answer that came after the next question was asked is not waited for again", () => {
  const { link, asked, waits, ready } = slowLink();
  const feed = new HintFeed(link, new BlockChain("a model", 2), codec, 4);
  feed.advance(0, Int32Array.of(1, 2), 5);
  feed.advance(2, Int32Array.of(3, 4), 5);
  expect(asked).toEqual([2, 1]);
  ready.push({ question: 2, hints: [hintOf(3)] }, { question: 1, hints: [undefined, hintOf(2)] });
  feed.advance(4, Int32Array.of(5), 5);
  expect(feed.hintOf(1)).toEqual(new Uint8Array(4).fill(2));
  expect(feed.hintOf(2)).toEqual(new Uint8Array(4).fill(3));
  feed.advance(5, Int32Array.of(), 5);
  expect(waits).toEqual([5, 5, 5, 0]);
});

test("an answer about blocks that are others by now is not taken", () => {
  const { link, ready } = slowLink();
  const feed = new HintFeed(link, new BlockChain("a model", 2), codec, 4);
  feed.advance(0, Int32Array.of(1, 2, 3, 4), 5);
  feed.advance(0, Int32Array.of(7, 8), 5);
  ready.push({ question: 1, hints: [hintOf(1), hintOf(1), hintOf(1)] });
  feed.advance(2, Int32Array.of(9), 0);
  expect(feed.hintOf(1)).toBeUndefined();
});
