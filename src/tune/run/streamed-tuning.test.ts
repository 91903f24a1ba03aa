import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readBaseModel, readRouterFile } from "../../adapter/index.ts";
import type { MemoryBudget } from "../../engine/options.ts";
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";
import { START_WEIGHTS } from "../objective/index.ts";
import { requireLayerMemory } from "./layer-memory.ts";
import { runTuning } from "./run-tuning.ts";
import type { TuneMethod, TuningJob } from "./tuning-job.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-streamed-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TEXTS = ["prose", "python"].map((name) => ({ path: path.join(path.dirname(DEMO_MODEL), "text", `${name}.txt`) }));
const DOCUMENT_TOKENS = 64;
const base = readBaseModel(DEMO_MODEL);
const { expertBytesTotal } = readMoeLayout(openGguf(DEMO_MODEL));

function job(name: string, method: TuneMethod, memory: MemoryBudget, microBatchTokens?: number): TuningJob {
  const terms = {
    ...{ weights: START_WEIGHTS, adaptTrust: true, residencyTarget: { kind: "previous" as const } },
    ...{ window: 32, promptWeight: 0.3, temperature: 0.3 },
  };
  return {
    ...{ model: DEMO_MODEL, method, out: path.join(folder, `${name}.safetensors`) },
    text: { kind: "texts", texts: TEXTS, documentTokens: DOCUMENT_TOKENS, documents: 4, generate: undefined },
    ...{ heldOutShare: 0.3, trustBudget: 0.05, sweeps: 1, local: { ...terms, steps: 8 } },
    full: {
      ...{ ...terms, steps: 1, stepTokens: 64, sequenceTokens: 64, task: "ce", learningRate: 1e-3 },
      ...{ warmupSteps: 1, warmupLocality: 1, couple: false },
      ...{ divergenceBudget: undefined, decay: false, stopOnCollapse: true },
    },
    ...{ mus: [8, 2], cacheShare: 0.5, checkpoint: undefined, evaluate: false, threads: 2, seed: 1 },
    engine: {
      ...{ memory, policy: "lru", microBatchTokens, threads: 1, backend: undefined, io: undefined },
      ...{ reservedBytes: 0, verbose: false },
    },
  };
}

async function gates(own: TuningJob): Promise<readonly Float32Array[]> {
  const { notes } = await runTuning(own);
  expect(notes).toEqual([]);
  return readRouterFile(own.out, base).delta.layers.map(({ gate }) => gate);
}

/** Of all weights, over the root mean square of what tuning changed. */
function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  let [off, change] = [0, 0];
  for (const [layer, gate] of a.entries())
    for (const [i, value] of gate.entries()) {
      off += (value - b[layer][i]) ** 2;
      change += (value - base.gates[layer].weights[i]) ** 2;
    }
  return Math.sqrt(off / change);
}

describe.each(["closed-form", "local"] as const)("%s on a model of which a quarter of the experts fits", (method) => {
  const quarter = { kind: "experts", bytes: expertBytesTotal / 4 } as const;

  it("gives the gates of the resident model, bit for bit", async () => {
    const resident = await gates(job(`${method}-all`, method, { kind: "all" }, DOCUMENT_TOKENS));
    const streamed = await gates(job(`${method}-quarter`, method, quarter, DOCUMENT_TOKENS));
    expect(streamed).toEqual(resident);
    // Other batches may round otherwise.
    const together = await gates(job(`${method}-together`, method, quarter, 4 * DOCUMENT_TOKENS));
    expect(distance(resident, together)).toBeLessThan(0.1);
  }, 60_000);

  it("says before anything is computed when a layer does not fit", () => {
    const tooSmall = job(`${method}-small`, method, { kind: "process", bytes: 2 ** 27 });
    expect(() => requireLayerMemory(tooSmall, base, DOCUMENT_TOKENS)).toThrow(/the smallest that works is \d+ MiB/);
  });
});
