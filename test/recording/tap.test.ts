/** The engine's tap: what anybody may listen to while a session runs, recorder or not. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openSession } from "../../src/engine/open-session.ts";
import type { RoutingTap, SessionOptions } from "../../src/engine/options.ts";
import type { Session } from "../../src/engine/session.ts";
import { openGguf, readMoeLayout } from "../../src/gguf/index.ts";
import { policyByName } from "../../src/policy/index.ts";
import { RoutingBuffer } from "../../src/trace/record/routing-buffer.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXT = readFileSync(join(import.meta.dirname, "../../models/text/prose.txt"), "utf8").slice(0, 2000);
const HALF = Math.floor(readMoeLayout(openGguf(DEMO_MODEL)).expertBytesTotal / 2);

function open(onRouted: RoutingTap | undefined, options: Partial<SessionOptions> = {}): Session {
  const tap = onRouted === undefined ? {} : { onRouted };
  return openSession(DEMO_MODEL, { contextSize: 128, threads: 1, ...tap, ...options });
}

/** Feeds a prompt of 20 tokens and four more one by one; returns copies of the logits. */
function feedTokens(session: Session): Float32Array[] {
  const tokens = session.model.vocabulary.tokenize(TEXT).slice(0, 24);
  const logits = [session.feed(tokens.subarray(0, 20), 0).slice()];
  for (let i = 20; i < 24; i++) logits.push(session.feed(tokens.subarray(i, i + 1), i).slice());
  return logits;
}

const streamed = {
  memory: { kind: "experts", bytes: HALF },
  policy: policyByName("lru"),
  microBatchTokens: 8,
} as const;

describe.each([
  { name: "with everything in memory", options: { microBatchTokens: 8 } },
  { name: "with experts streamed", options: streamed },
])("$name", ({ options }) => {
  test("every layer of every batch is told, in order, and the logits stay what they are", () => {
    const stops: [layer: number, tokens: number][] = [];
    using session = open(({ layer, tokens }) => stops.push([layer, tokens]), options);
    const logits = feedTokens(session);
    using silent = open(undefined, options);
    expect(logits).toEqual(feedTokens(silent));
    const layers = [0, 1, 2, 3, 4, 5, 6, 7];
    // Logits are wanted of the last token alone, so the last layer's experts are asked for it alone.
    const batch = (tokens: number, outputs: number) =>
      layers.map((layer) => [layer, layer === 7 ? outputs : tokens] as const);
    const single = batch(1, 1);
    expect(stops).toEqual([...batch(8, 0), ...batch(8, 0), ...batch(4, 1), ...single, ...single, ...single, ...single]);
  });

  test("an error of the listener ends the call and is thrown there, and the session goes on", () => {
    let left = 11;
    const problem = new Error("the disk is full");
    const tap: RoutingTap = () => {
      if (left-- === 0) throw problem;
    };
    using session = open(tap, options);
    const tokens = session.model.vocabulary.tokenize(TEXT).slice(0, 16);
    expect(() => session.feed(tokens, 0)).toThrow(problem);
    using silent = open(undefined, options);
    expect(feedTokens(session)).toEqual(feedTokens(silent));
  });
});

test("a batch that does not want all logits cannot be recorded: the last layer is missing", () => {
  const shape = { layers: 8, experts: 32, expertsUsed: 4, rows: 8 };
  const buffer = new RoutingBuffer(shape);
  using session = open(buffer.tap, { microBatchTokens: 8 });
  buffer.begin(0, 8);
  session.feed(session.model.vocabulary.tokenize(TEXT).slice(0, 8), 0);
  expect(() => buffer.finish()).toThrow("MoE layer 7: 1 of 8 tokens");
});

test("the memory of all logits is part of the plan", () => {
  const bytes = (maxOutputs: number) => {
    using session = open(undefined, { microBatchTokens: 64, maxOutputs });
    return session.plan.computeBytes;
  };
  // The output buffer has 63 rows more of 4,096 floats, and the graph's buffer, which holds other things too, some.
  expect(bytes(64) - bytes(1)).toBeGreaterThan(63 * 4096 * 4);
});
