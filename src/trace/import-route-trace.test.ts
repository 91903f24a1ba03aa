/** The three recorded runs, imported: the same routing as the file's, and the hit rates that their own engine measured. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readRouteTrace } from "../../test/traces/route-trace.ts";
import { type RecordedIteration, replay } from "../cache/replay.test-data.ts";
import { type ModelShape, tokenCycleBytes } from "../cache/shape.ts";
import { hitRate, totalCounters } from "../cache/statistics.ts";
import { lru } from "../policy/lru.ts";
import { importRouteTrace } from "./import-route-trace.ts";
import { DECODE, NO_ID, PREFILL, type TraceDescription, type TraceSample } from "./trace.ts";
import { openTrace } from "./trace-reader.ts";

const MIB = 1024 * 1024;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-import-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function imported(file: string, wanted = { weights: true }) {
  const directory = path.join(folder, "trace");
  rmSync(directory, { recursive: true, force: true });
  const summary = await importRouteTrace(file, directory);
  const trace = await openTrace(directory);
  const samples: TraceSample[] = [];
  for (const { index } of trace.parts) for await (const sample of trace.samples(index, wanted)) samples.push(sample);
  expect(summary).toEqual({
    description: trace.description,
    samples: samples.length,
    tokens: samples.reduce((sum, { length }) => sum + length, 0),
  });
  return { description: trace.description, samples };
}

function shapeOf({ model }: TraceDescription): ModelShape {
  return {
    layers: model.moeBlocks.length,
    experts: model.experts,
    expertsUsed: model.expertsUsed,
    expertBytes: model.expertBytes,
  };
}

/** A sample as the cache meets it: by batch, then by layer. */
function iterationsOf({ layers, experts, expertsUsed }: ModelShape, sample: TraceSample): RecordedIteration[] {
  const iterations: RecordedIteration[] = [];
  for (let from = 0; from < sample.length; ) {
    let to = from;
    while (to < sample.length && sample.batches[to] === sample.batches[from]) to++;
    const stops = Array.from({ length: layers }, (_, layer) => {
      const places: number[] = [];
      for (let token = from; token < to; token++)
        for (let slot = 0; slot < expertsUsed; slot++) places.push((token * layers + layer) * expertsUsed + slot);
      const used = places.filter((place) => sample.experts[place] !== NO_ID);
      const chosen = Int32Array.from(used, (place) => sample.experts[place]);
      return {
        layer,
        tokens: chosen.length / expertsUsed,
        experts: chosen,
        weights: Float32Array.from(used, (place) => sample.weights?.[place] ?? Number.NaN),
        distinct: Int32Array.from(new Set(chosen), (expert) => layer * experts + expert),
      };
    });
    iterations.push({ phase: sample.phases[from] === PREFILL ? "prefill" : "decode", stops });
    from = to;
  }
  return iterations;
}

describe.each([
  { name: "qwen", mib: 4000, percent: 74.9, withoutLastLayer: 27 },
  { name: "gemma", mib: 4000, percent: 76.8, withoutLastLayer: 0 },
  { name: "gptoss", mib: 3000, percent: 32.4, withoutLastLayer: 84 },
] as const)("$name", ({ name, mib, percent, withoutLastLayer }) => {
  const file = fileURLToPath(new URL(`../../test/traces/${name}.route.csv.gz`, import.meta.url));

  test("comes back as the file has it", async () => {
    const { description, samples } = await imported(file);
    const shape = shapeOf(description);
    const straight = readRouteTrace(name);
    expect(shape).toEqual(straight.shape);
    expect(samples.map(({ sample, domain }) => ({ sample, domain }))).toEqual([{ sample: 0, domain: name }]);
    expect(iterationsOf(shape, samples[0])).toEqual(straight.iterations);
    expect(description.model.blocks).toBe(shape.layers);
    expect(description.recording.sampleLength).toBe(samples[0].length);
    const note = description.recording.notes.find((text) => text.includes("no experts in the last layer"));
    expect(note?.startsWith(`${withoutLastLayer} prompt tokens`) ?? withoutLastLayer === 0).toBe(true);
  });

  test(`global LRU over ${mib} MiB hits ${percent} %, and never below a token cycle`, async () => {
    const { description, samples } = await imported(file);
    const shape = shapeOf(description);
    const iterations = samples.flatMap((sample) => iterationsOf(shape, sample));
    const rate = hitRate(totalCounters(replay(shape, iterations, mib * MIB, lru())));
    expect(Number((100 * rate).toFixed(1))).toBe(percent);
    const decode = iterations.filter(({ phase }) => phase === "decode");
    const tooLittle = tokenCycleBytes(shape) - Math.max(...shape.expertBytes) * shape.expertsUsed;
    expect(totalCounters(replay(shape, decode, tooLittle, lru())).hits).toBe(0);
  });
});

const HEAD = `# route_trace v1
# model=/models/tiny model.gguf arch=tiny n_layer=3 n_expert=8 n_expert_used=2
# layer=0 expert_bytes=0 dense_bytes=10
# layer=1 expert_bytes=100 dense_bytes=20
# layer=2 expert_bytes=200 dense_bytes=30
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
`;
/** Two prompt tokens, of which the first has no last layer, and one decoded token. */
const ROWS = [
  "0,0,5,1,0,3,0.75,0,100",
  "0,0,5,1,1,4,0.25,0,100",
  "0,0,6,1,0,7,0.5,0,100",
  "0,0,6,1,1,0,0.5,0,100",
  "0,0,6,2,0,1,1,0,200",
  "0,0,6,2,1,2,0,0,200",
  "0,1,7,1,0,3,0.5,1,0",
  "0,1,7,1,1,7,0.5,1,0",
  "0,1,7,2,0,5,0.5,0,200",
  "0,1,7,2,1,6,0.5,0,200",
];

describe("by hand:", () => {
  const write = (rows: readonly string[], head = HEAD) => {
    const file = path.join(folder, "tiny.route.csv");
    writeFileSync(file, `${head}${rows.join("\n")}\n`);
    return file;
  };
  const fails = (rows: readonly string[], message: RegExp, head?: string) =>
    expect(importRouteTrace(write(rows, head), path.join(folder, "trace"))).rejects.toMatchObject({
      name: "TraceError",
      kind: "bad-import",
      message: expect.stringMatching(message),
    });
  const without = (line: number) => ROWS.filter((_, i) => i !== line);
  const replaced = (line: number, row: string) => ROWS.map((text, i) => (i === line ? row : text));

  test("tokens, layers, batches and free places", async () => {
    const { description, samples } = await imported(write(ROWS));
    expect(description.model).toMatchObject({
      name: "tiny model",
      blocks: 3,
      moeBlocks: [1, 2],
      expertBytes: [100, 200],
    });
    expect(samples).toMatchObject([
      {
        domain: "tiny",
        length: 3,
        phases: Uint8Array.of(PREFILL, PREFILL, DECODE),
        batches: Uint32Array.of(0, 0, 1),
        experts: Uint16Array.of(3, 4, NO_ID, NO_ID, 7, 0, 1, 2, 3, 7, 5, 6),
        weights: Float32Array.of(0.75, 0.25, 0, 0, 0.5, 0.5, 1, 0, 0.5, 0.5, 0.5, 0.5),
      },
    ]);
  });

  test("more columns in any order, Windows line ends, packed", async () => {
    const plain = await imported(write(ROWS));
    const head = HEAD.replace(/turn.*\n/, "dropped,expert,turn,phase,step,layer,slot,weight\n");
    const rows = ROWS.map((row) => {
      const [turn, phase, step, layer, slot, expert, weight] = row.split(",");
      return [0, expert, turn, phase, step, layer, slot, weight].join(",");
    });
    const file = path.join(folder, "tiny.route.csv.gz");
    writeFileSync(file, gzipSync(`${head}${rows.join("\n")}`.replaceAll("\n", "\r\n")));
    expect((await imported(file)).samples).toEqual(plain.samples);
  });

  test("turns are samples, and say so", async () => {
    const second = ROWS.map((row) => row.replace(/^0,(\d),(\d)/, (_, phase, step) => `1,${phase},${Number(step) + 3}`));
    const { description, samples } = await imported(write([...ROWS, ...second]));
    expect(samples.map(({ length }) => length)).toEqual([3, 3]);
    expect(samples[1].experts).toEqual(samples[0].experts);
    expect(description.recording.notes.join()).toMatch(/Turns of a session are samples/);
  });

  test("weights that the engine did not see", async () => {
    const { description, samples } = await imported(write(replaced(9, "0,1,7,2,1,6,nan,0,200")), { weights: false });
    expect(description.columns.weights).toBe(false);
    expect(description.recording.notes.join()).toMatch(/weights were left out/);
    expect(samples[0].experts[11]).toBe(6);
  });

  test("many decoded tokens", async () => {
    const decoded = Array.from({ length: 1000 }, (_, i) =>
      ROWS.slice(6).map((row) => row.replace("0,1,7,", `0,1,${7 + i},`)),
    ).flat();
    const { samples } = await imported(write([...ROWS.slice(0, 6), ...decoded]));
    expect(samples[0].length).toBe(1002);
    expect(samples[0].batches.at(-1)).toBe(1000);
    expect([...samples[0].experts.subarray(-4)]).toEqual([3, 7, 5, 6]);
  });

  test("no other file is taken for one", async () => {
    await fails([], /line 1: is no route_trace v1/, "a,b\n1,2\n");
    await fails([], /line 2: comes before the line "# model=/, "# route_trace v1\nturn,phase\n");
    await fails([], /is no route_trace v1/, "# route_trace v2\n");
    await fails([], /has no rows/, HEAD.replace(/turn.*\n/, ""));
    await fails([], /has no rows/);
    await fails([], /line 1: is too long/, "x".repeat(300_000));
    await expect(importRouteTrace(path.join(folder, "none"), folder)).rejects.toMatchObject({ kind: "unreadable" });
    writeFileSync(path.join(folder, "cut.gz"), gzipSync(HEAD).subarray(0, 60));
    await expect(importRouteTrace(path.join(folder, "cut.gz"), folder)).rejects.toThrow(/damaged or cut off/);
  });

  test("headers that cannot be", async () => {
    await fails(ROWS, /line 2: describes a model that cannot be/, HEAD.replace("n_expert=8", "n_expert=800000"));
    await fails(
      ROWS,
      /line 4: describes layer 1 where layer 0 has to be/,
      HEAD.replace("layer=0", "layer=1").replace("# layer=1", "\n# layer=1"),
    );
    await fails(ROWS, /2 of 3 layers are described/, HEAD.replace(/# layer=2.*\n/, ""));
    await fails(ROWS, /no column "slot"/, HEAD.replace("slot", "place"));
  });

  test("rows that cannot be, by line", async () => {
    await fails(replaced(0, "0,0,5,1,0,8,0.75"), /line 7: expert 8 is not one of 8/);
    await fails(replaced(1, "0,0,5,1,1,3,0.25"), /line 8: expert 3 comes twice/);
    await fails(replaced(1, "0,0,5,1,3,4,0.25"), /line 8: slot 3 comes where slot 1 of 2/);
    await fails(replaced(2, "0,0,7,1,0,7,0.5"), /line 9: step 7 comes where step 6/);
    await fails(replaced(0, "0,0,5,0,0,3,0.75"), /line 7: layer 0 has no experts/);
    await fails(replaced(0, "0,2,5,1,0,3,0.75"), /line 7: phase 2/);
    await fails(replaced(0, "0,0,5,1,0,three,0.75"), /line 7: "three" is no expert/);
    await fails([...ROWS, "0,1,8,1,0"], /line 17: "" is no expert\. The file may have been cut off here/);
    await fails([...ROWS, "0,0,8,1,0,1,1"], /line 17: the prompt goes on/);
    await fails(["1,0,0,1,0,1,1", ...ROWS], /line 8: turn 0 comes after turn 1/);
  });

  test("tokens that are not whole", async () => {
    await fails(ROWS.slice(0, -1), /step 7, MoE layer 1 has 1 rows of 2\. Was the file cut off/);
    await fails(ROWS.slice(0, -2), /step 7, MoE layer 1 has 0 rows of 2/);
    await fails(without(1), /step 5, MoE layer 0 has 1 rows/);
  });

  test("nothing is written of a file that is refused", async () => {
    await fails(ROWS.slice(0, -1), /cut off/);
    await expect(openTrace(path.join(folder, "trace"))).rejects.toMatchObject({ kind: "not-a-trace" });
  });
});
