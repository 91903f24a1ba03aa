import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { probeModel } from "../../test/tiny-models/graph-probe.ts";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { captureMappings } from "../memory/model-mapping.ts";
import { GraphHook, type GraphListener, RouterNotSeenError, type RouterStop } from "./graph-hook.ts";
import { Batch, createContext, loadLibraries, loadModel } from "./index.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "graph-hook-")));
afterAll(() => rmSync(folder, { recursive: true }));

const TOKENS = Int32Array.from({ length: 12 }, (_, i) => 3 + ((i * 37) % 290));

interface Seen {
  /** What happened, in order: "route 0", "multiply 0.1", "multiplied 0". */
  readonly events: string[];
  readonly choices: {
    readonly layer: number;
    readonly chosen: number[][];
    readonly probabilities: Float32Array | undefined;
    /** What was compared, `[tokens][experts]`; undefined where that cannot be seen. */
    readonly compared: Float32Array | undefined;
  }[];
  readonly hook: GraphHook;
  readonly decode: (from: number, to: number, output?: boolean) => void;
}

/** Runs `use` on a model whose graphs are watched; `change` replaces parts of the listener or of the blocks known. */
async function watched(
  name: string,
  use: (seen: Seen) => void,
  change: Partial<GraphListener> & { readonly blocks?: Int32Array } = {},
): Promise<string> {
  const path = await makeTinyModel(folder, tinyModel(name));
  const libraries = loadLibraries();
  const layout = readMoeLayout(openGguf(path));
  const capture = captureMappings(libraries.paths.llama, [path], "map");
  using model = loadModel(libraries, path);
  capture?.restore();
  const base = capture?.mapped[0].base ?? 0;
  const operation = (wanted: string): number => {
    let op = 0;
    while (libraries.ggmlBase.ggml_op_name(op) !== wanted) op++;
    return op;
  };
  const blocks = new Int32Array(layout.blockCount).fill(-1);
  const stageOfAddress = new Map<number, { layer: number; stage: number }>();
  for (const [layer, { blockIndex, slices }] of layout.moeLayers.entries()) {
    blocks[blockIndex] = layer;
    for (const [stage, { offset }] of slices.entries()) stageOfAddress.set(base + offset, { layer, stage });
  }
  const events: string[] = [];
  const choices: Seen["choices"] = [];
  const record = (stop: RouterStop): boolean => {
    events.push(`route ${stop.layer}`);
    const probabilities = new Float32Array(stop.tokens * layout.expertsPerLayer);
    if (stop.hasProbabilities) stop.readProbabilities(probabilities);
    const compared = new Float32Array(stop.tokens * layout.expertsPerLayer);
    const comparison = stop.readSelectionScores?.(compared) === true;
    choices.push({
      layer: stop.layer,
      chosen: Array.from({ length: stop.tokens }, (_, token) =>
        Array.from({ length: stop.expertsUsed }, (_, rank) => stop.expert(token, rank)),
      ),
      probabilities: stop.hasProbabilities ? probabilities : undefined,
      compared: comparison ? compared : undefined,
    });
    return true;
  };
  const hook = new GraphHook(
    {
      layerOfBlock: change.blocks ?? blocks,
      experts: layout.expertsPerLayer,
      stageOfAddress,
      opMulMatId: operation("MUL_MAT_ID"),
      opMulMat: operation("MUL_MAT"),
      opMul: operation("MUL"),
      opSoftMax: operation("SOFT_MAX"),
      opUnary: operation("UNARY"),
      opSqrt: operation("SQRT"),
      opArgsort: operation("ARGSORT"),
    },
    {
      routed: (stop) => record(stop) && (change.routed?.(stop) ?? true),
      multiply: (layer, stage) => {
        events.push(`multiply ${layer}.${stage}`);
        return change.multiply?.(layer, stage) ?? false;
      },
      multiplied: (layer) => {
        events.push(`multiplied ${layer}`);
        return change.multiplied?.(layer) ?? true;
      },
    },
  );
  using context = createContext(model, { contextSize: 256, threads: 1, evalCallback: hook.pointer });
  using batch = new Batch({ capacity: 32 });
  const decode = (from: number, to: number, output = true) => {
    batch.clear();
    for (let i = from; i < to; i++) batch.add(TOKENS[i], i, 0, output && i === to - 1);
    hook.begin();
    expect(context.decode(batch).status).toBe("ok");
  };
  use({ events, choices, hook, decode });
  context.dispose();
  hook.dispose();
  return path;
}

describe("the routers of a graph", () => {
  // Softmax, raw logits, other numbers of experts in some layers, two routers a layer, a table instead of a router.
  test.each(["mixtral", "gpt-oss", "nemotron-h-moe-latent", "grovemoe", "deepseek4", "llama4", "smallthinker"])(
    "of %s are seen once a layer, with their choices",
    async (name) => {
      let seen: Seen["choices"] = [];
      const path = await watched(name, ({ decode, choices }) => {
        decode(0, 8);
        decode(8, 9);
        seen = choices;
      });
      const layers = readMoeLayout(openGguf(path)).moeLayers;
      const records = probeModel(path, { decodes: [TOKENS.slice(0, 8), TOKENS.slice(8, 9)] });
      // Of two routers with the same name in a layer the first is the one of the experts that are streamed.
      const expected = records.flatMap(({ choices }) =>
        layers.map((layer, i) => ({
          layer: i,
          chosen: choices.find(({ block }) => block === layer.blockIndex)?.chosen,
        })),
      );
      expect(seen.map(({ layer, chosen }) => ({ layer, chosen }))).toEqual(expected);
      for (const [i, { chosen }] of seen.entries())
        for (const experts of chosen) expect(experts).toHaveLength(layers[i % layers.length].expertsUsed);
    },
  );

  test("choose for nobody in the last layer of a batch without outputs", async () => {
    await watched("mixtral", ({ decode, choices }) => {
      decode(0, 8, false);
      const counts = choices.map(({ chosen }) => chosen.length);
      expect(counts.slice(0, -1).every((count) => count === 8)).toBe(true);
      expect(counts.at(-1)).toBe(0);
    });
  });

  test.each(["mixtral", "gpt-oss", "deepseek2", "minimax-m2"])(
    "of %s have distributions that sum to 1 and that rank the chosen",
    async (name) => {
      await watched(name, ({ decode, choices }) => {
        decode(0, 8);
        for (const { chosen, probabilities } of choices) {
          if (probabilities === undefined) throw new Error("no probabilities");
          const experts = probabilities.length / chosen.length;
          for (const [token, mine] of chosen.entries()) {
            const row = probabilities.subarray(token * experts, (token + 1) * experts);
            expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 4);
            expect(Math.min(...row)).toBeGreaterThanOrEqual(0);
            // The others are chosen with a bias that is no part of the distribution.
            if (name !== "mixtral" && name !== "gpt-oss") continue;
            const shares = mine.map((expert) => row[expert]);
            expect(shares).toEqual([...shares].sort((a, b) => b - a));
            expect(row.filter((share) => share > shares[shares.length - 1]).length).toBeLessThan(mine.length);
          }
        }
      });
    },
  );
});

describe("the scores that routers compare", () => {
  // Softmax, raw logits, sigmoid with groups, softmax with a bias, sigmoid with a bias, two kinds of scores, raw beside sigmoid.
  test.each(["mixtral", "gpt-oss", "deepseek2", "ernie4_5-moe", "minimax-m2", "grovemoe", "llama4"])(
    "of %s have the chosen at their top, best first",
    async (name) => {
      await watched(name, ({ decode, choices }) => {
        decode(0, 8);
        decode(8, 9);
        for (const { chosen, compared } of choices) {
          if (compared === undefined) throw new Error("no scores");
          const experts = compared.length / chosen.length;
          for (const [token, mine] of chosen.entries()) {
            const row = compared.subarray(token * experts, (token + 1) * experts);
            const best = [...row].sort((a, b) => b - a).slice(0, mine.length);
            expect(mine.map((expert) => row[expert])).toEqual(best);
            expect(best.at(-1)).toBeGreaterThan(Number.NEGATIVE_INFINITY);
            expect(row.includes(Number.NEGATIVE_INFINITY)).toBe(name === "deepseek2");
          }
        }
      });
    },
  );

  test("cannot be seen where a table chooses", async () => {
    await watched("deepseek4", ({ decode, choices }) => {
      decode(0, 8);
      const seen = choices.map(({ compared }) => compared !== undefined);
      expect(seen.slice(0, 3)).toEqual([false, false, true]);
    });
  });
});

describe("the products of a graph", () => {
  test("come after their router, each stage once, and end a group when that is asked for", async () => {
    await watched(
      "mixtral",
      ({ decode, events }) => {
        decode(0, 1);
        const layer = (i: number) => [
          `route ${i}`,
          `multiply ${i}.0`,
          `multiplied ${i}`,
          `multiply ${i}.1`,
          `multiplied ${i}`,
          `multiply ${i}.2`,
        ];
        const layers = events.filter((event) => event.startsWith("route")).length;
        expect(events).toEqual(Array.from({ length: layers }, (_, i) => layer(i)).flat());
      },
      { multiply: (_, stage) => stage < 2 },
    );
  });

  test("of a layer whose router was not recognised are an error", async () => {
    await watched(
      "mixtral",
      ({ decode, hook }) => {
        decode(0, 1);
        expect(hook.error).toBeInstanceOf(RouterNotSeenError);
        expect(hook.abandoned).toBe(true);
      },
      { blocks: new Int32Array(16).fill(-1) },
    );
  });
});

describe("a listener", () => {
  test("that says no ends the graph, and the next one is watched again", async () => {
    let refuse = true;
    await watched(
      "mixtral",
      ({ decode, events, hook }) => {
        decode(0, 1);
        expect(events).toEqual(["route 0"]);
        expect(hook.abandoned).toBe(true);
        expect(hook.error).toBeUndefined();
        refuse = false;
        decode(1, 2);
        expect(hook.abandoned).toBe(false);
        expect(events).toContain("multiply 1.0");
      },
      { routed: () => !refuse },
    );
  });

  test.each(["routed", "multiply", "multiplied"] as const)(
    "that throws in %s ends the graph with its error",
    async (call) => {
      const error = new Error("mistake");
      const fail = (): never => {
        throw error;
      };
      await watched(
        "mixtral",
        ({ decode, hook, events }) => {
          decode(0, 1);
          expect(hook.error).toBe(error);
          expect(hook.abandoned).toBe(true);
          expect(events.filter((event) => event.startsWith("route"))).toEqual(["route 0"]);
        },
        { multiply: () => true, [call]: fail },
      );
    },
  );
});
