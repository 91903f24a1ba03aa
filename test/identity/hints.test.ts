/**
 * Hints change when experts are read and what is given up, never what is computed: with true, wrong, old and broken ones the output
 * is stock llama.cpp's, bit for bit, and the hints have worked.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HintLink, InlineLink } from "../../src/flash/hints/hint-link.ts";
import { MemoryHints } from "../../src/flash/hints/memory-hints.ts";
import { HINT_BITS, SegmentCodec } from "../../src/flash/hints/segment-hint.ts";
import { ThreadLink } from "../../src/flash/hints/thread-link.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { policyByName } from "../../src/policy/index.ts";
import { firstDifference } from "./conversation.ts";
import { DEMO_MODEL, demoModel, TIGHT_RUN } from "./demo-conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "./engine.ts";
import { policyResources } from "./policy-resources.ts";

const folder = mkdtempSync(join(tmpdir(), "identity-hints-"));
afterAll(() => rmSync(folder, { recursive: true }));

const shape = toModelShape(readMoeLayout(openGguf(DEMO_MODEL)));
const codec = new SegmentCodec(shape, HINT_BITS);

describe("with hints the demo model says what stock llama.cpp says", () => {
  const stock = new StockTranscripts();
  let model: ModelUnderTest;

  beforeAll(() => {
    model = demoModel();
  }, 60_000);

  /** Runs the conversation; what the policy and the hints say of it. */
  function figuresWith(link: HintLink, policy: string): Readonly<Record<string, number>> {
    const { transcript, statistics, microBatchTokens } = runEngine(model, TIGHT_RUN, {
      policy: policyByName(policy, policyResources(DEMO_MODEL)),
      hints: { link, salt: "the model" },
    });
    const expected = stock.of(model, microBatchTokens);
    expect(transcript.tokens).toEqual(expected.tokens);
    expect(firstDifference(transcript, expected)).toBe(-1);
    return statistics.policyFigures ?? {};
  }

  test.each(["lru", "warmset", "on-demand", "layer-stream", "lru+next-gate", "finemoe:mode=inline", "moe-infinity"])(
    "under %s, at first with nothing known, then with everything",
    (policy) => {
      const store = new MemoryHints({ merge: (old, observed) => codec.merge(old, observed) });
      const before = figuresWith(new InlineLink(store), policy);
      expect(before.hintsRecorded).toBeGreaterThan(8);
      const after = figuresWith(new InlineLink(store), policy);
      expect(after.blocksHinted).toBeGreaterThan(8);
      expect(after.hintReadsUsed).toBeGreaterThan(0);
    },
  );

  test("with hints that are all wrong", () => {
    const wrong = codec.encode(Uint8Array.from({ length: 256 }, (_, key) => (key % 3 === 0 ? 15 : 0)));
    const store = new MemoryHints({ merge: () => wrong });
    const everywhere: HintLink = new InlineLink(store);
    store.get = () => wrong;
    expect(figuresWith(everywhere, "lru").hintReads).toBeGreaterThan(20);
  });

  test("from a file, across two openings", () => {
    const path = join(folder, "hints");
    const open = () => {
      const link = new ThreadLink({ path, shape });
      link.waitUntilOpen();
      return link;
    };
    expect(figuresWith(open(), "warmset").blocksHinted).toBe(0);
    const link = open();
    expect(figuresWith(link, "warmset").blocksHinted).toBeGreaterThan(8);
    expect(link.problem).toBeUndefined();
  });

  test("with a file that is of no use", () => {
    const path = join(folder, "broken");
    writeFileSync(path, "not a cache, but longer than a page".repeat(200));
    const link = new ThreadLink({ path, shape });
    expect(figuresWith(link, "warmset")).toMatchObject({ blocksHinted: 0, hintReads: 0 });
    expect(link.problem).toContain("is no cache");
  });
});
