import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { GgufError } from "../gguf/index.ts";
import { PredictorError } from "./errors.ts";
import { loadPredictor, savePredictor } from "./predictor-file.ts";
import { PredictorRuntime } from "./predictor-runtime.ts";
import type { RouterPredictor } from "./router-predictor.ts";
import { TEACHER_HASH, untrainedPredictor } from "./teacher-trace.test-data.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "predictor-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
const path = join(folder, "predictor.gguf");
const DEMO = new URL("../../models/demo-moe-q8_0.gguf", import.meta.url).pathname;

async function loaded(predictor: RouterPredictor): Promise<RouterPredictor> {
  await savePredictor(path, predictor);
  return loadPredictor(path, predictor.model.hash);
}

/** The error that loading what was saved ends with. */
async function refusal(predictor: RouterPredictor, hash?: string): Promise<PredictorError> {
  await savePredictor(path, predictor);
  try {
    loadPredictor(path, hash);
  } catch (error) {
    if (error instanceof PredictorError) return error;
    throw error;
  }
  throw new Error("it was loaded");
}

describe("a predictor's file", () => {
  test("gives back what was written", async () => {
    const mlp = untrainedPredictor({ tokenizerHash: "b".repeat(64) }, { width: 5, window: 2 });
    expect(await loaded(mlp)).toEqual(mlp);
    const linear = untrainedPredictor({}, { stride: 1 });
    expect(await loaded(linear)).toEqual(linear);
  });

  test("predicts the same from a file", async () => {
    const predictor = untrainedPredictor({}, { width: 9 });
    const again = await loaded(predictor);
    const hidden = Float32Array.from({ length: 16 }, (_, i) => Math.sin(i));
    const scores = ({ model, heads }: RouterPredictor) => {
      const runtime = new PredictorRuntime(model, heads);
      runtime.read(hidden, 0);
      return heads.map((_, head) => [...runtime.scores(head)]);
    };
    expect(scores(again)).toEqual(scores(predictor));
  });

  test("is refused for another model", async () => {
    const error = await refusal(untrainedPredictor(), "c".repeat(64));
    expect(error.kind).toBe("wrong-model");
    expect(error.message).toMatch(/trained for teacher \(header aaaaaaaaaaaa\), not for this model \(header cccccc/);
    expect(loadPredictor(path, TEACHER_HASH).model.name).toBe("teacher");
    expect(loadPredictor(path).model.name).toBe("teacher");
  });

  test("is not a model's file", () => {
    expect(() => loadPredictor(DEMO)).toThrow(/holds a qwen3moe, not a predictor/);
    expect(() => loadPredictor(join(folder, "none.gguf"))).toThrow(GgufError);
  });

  test("is refused when its parts contradict each other", async () => {
    const good = untrainedPredictor({}, { width: 5 });
    const { model, heads } = good;
    const nan = { ...heads[0], outer: heads[0].outer.map((weight, i) => (i === 3 ? Number.NaN : weight)) };
    for (const [wrong, problem] of [
      [{ ...good, heads: heads.slice(1) }, /layer\.0\.ahead\.1\.inner is missing/],
      [{ ...good, heads: [...heads, { ...heads[0], distance: 2 }] }, /6 matrices instead of 4/],
      [{ ...good, heads: [nan, heads[1]] }, /are not numbers/],
      [{ ...good, recall: good.recall.slice(1) }, /recall\.tokens is not of 2 heads/],
      [{ ...good, model: { ...model, layers: 1 } }, /layers is 1/],
      [{ ...good, model: { ...model, expertsUsed: 13 } }, /experts_used is 13/],
      [{ ...good, stride: 2 }, /stride is 2/],
    ] as const) {
      const error = await refusal(wrong);
      expect(error.kind).toBe("damaged");
      expect(error.message).toMatch(problem);
    }
  });

  test("is refused with a named error, or loaded, whatever bytes are wrong", async () => {
    await savePredictor(path, untrainedPredictor({}, { width: 3 }));
    const whole = fs.readFileSync(path);
    const broken = join(folder, "broken.gguf");
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
        const bytes = Buffer.from(cut ? whole.subarray(0, at) : whole);
        if (!cut) bytes[at] = value;
        fs.writeFileSync(broken, bytes);
        try {
          loadPredictor(broken, TEACHER_HASH);
        } catch (error) {
          expect(error instanceof PredictorError || error instanceof GgufError, String(error)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("is written whole or not at all", async () => {
    const target = join(folder, "aborted.gguf");
    const reason = new Error("stop");
    await expect(savePredictor(target, untrainedPredictor(), AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(fs.readdirSync(folder).filter((name) => name.startsWith("aborted"))).toEqual([]);
  });
});
