/** Cache-biased routing in the graphs of every architecture: what is chosen, and that weights follow the new ids. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { firstDifference } from "../../test/identity/conversation.ts";
import { type ModelUnderTest, runEngine, StockTranscripts } from "../../test/identity/engine.ts";
import type { IdentityRun } from "../../test/identity/run-plan.ts";
import { makeTinyModel, TINY_MODELS, tinyModel } from "../../test/tiny-models/index.ts";
import type { CacheBias } from "./cache-bias.ts";

const folder = mkdtempSync(join(tmpdir(), "routing-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RUN: IdentityRun = {
  budget: "half",
  policy: "lru",
  addition: "",
  file: "single",
  storage: "owned, direct",
  recyclePages: true,
};

async function prepare(name: string): Promise<ModelUnderTest> {
  const single = await makeTinyModel(folder, tinyModel(name));
  return {
    single,
    split: single,
    words: Int32Array.from({ length: 48 }, (_, i) => 3 + ((i * 37) % 290)),
    length: { promptTokens: 12, answerTokens: 6 },
    contextSize: 256,
    microBatchTokens: 16,
    threads: 1,
  };
}

function biased(model: ModelUnderTest, cacheBias: CacheBias) {
  const { transcript, statistics } = runEngine(model, RUN, { cacheBias });
  if (statistics.cacheBias === undefined) throw new Error("nothing was streamed");
  return { transcript, bias: statistics.cacheBias, statistics };
}

const prior = (lambda: number): CacheBias => ({ rule: { kind: "prior", lambda }, evenOnTheCliff: true });

describe.each(TINY_MODELS.map(({ name }) => name))("%s", (name) => {
  test("with a bias of 0 says what stock llama.cpp says, and with a large one chooses otherwise", async () => {
    const model = await prepare(name);
    const stock = new StockTranscripts();
    const none = biased(model, prior(0));
    expect(firstDifference(none.transcript, stock.of(model, model.microBatchTokens))).toBe(-1);
    expect(none.bias).toMatchObject({ swaps: 0, agreement: 1 });
    expect(none.bias.decisions).toBeGreaterThan(0);
    // A Llama 4 uses one expert a token: kept, nothing else can be chosen.
    const strong = biased(model, { ...prior(1), alwaysKeep: 0 });
    expect(strong.bias.swaps).toBeGreaterThan(0);
    expect(firstDifference(strong.transcript, none.transcript)).not.toBe(-1);
    // DeepSeek 4 chooses by a table in its first layers.
    expect(strong.bias.layersUnseen).toBe(name === "deepseek4" ? 2 : 0);
  });
});
