import { expect, test } from "vitest";
import { type Decoder, forceTokens } from "./teacher-forcing.ts";

/** Takes down what it is given; predicts the token's successor. */
class RecordingDecoder implements Decoder {
  readonly calls: string[] = [];
  #last = 0;

  startSequence(): void {
    this.calls.push("start");
  }

  decode(tokens: Int32Array): void {
    this.calls.push(tokens.join(" "));
    this.#last = tokens[tokens.length - 1];
  }

  logits(): Float32Array {
    return new Float32Array(64).map((_, i) => (i === this.#last + 1 ? 1 : 0));
  }
}

const windows = [
  { domain: "a", promptTokens: 2, tokens: [1, 2, 3, 4, 5] },
  { domain: "b", promptTokens: 1, tokens: [11, 12, 13] },
];
const job = { modelPath: "m.gguf", windows, warmupTokens: 4, threads: 1 };

test("every window is prefilled at once and then forced token by token, whatever was predicted", () => {
  const decoder = new RecordingDecoder();
  const { figures } = forceTokens(job, Date.now(), decoder, { read: () => 0, add: () => 0 });
  expect(decoder.calls).toEqual(["start", "1 2", "3", "4", "5", "start", "11", "12", "13"]);
  expect(figures.predictions).toEqual([3, 4, 5, 6, 12, 13, 14]);
  expect(figures.prefillMs.length).toBe(2);
});

test("warm-up tokens are decoded but not counted, in time or in counters", () => {
  const decoder = new RecordingDecoder();
  const { figures, counted } = forceTokens(job, Date.now() - 50, decoder, {
    read: () => decoder.calls.length,
    add: (total: number | undefined, from: number, to: number) => (total ?? 0) + to - from,
  });
  expect(figures.tokens).toBe(1);
  expect(figures.tpotMs.length).toBe(1);
  expect(counted).toBe(1);
  expect(figures.ttftMs).toBeGreaterThanOrEqual(50);
  expect(figures.tokensPerSecond).toBeCloseTo(1000 / figures.tpotMs[0]);
  expect(figures.peakRssBytes).toBeGreaterThan(10 * 2 ** 20);
});
