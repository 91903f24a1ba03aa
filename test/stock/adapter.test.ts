/**
 * An adapter does in stock llama.cpp what `tune eval` says of it: a process without a line of warmset loads model and adapter and
 * computes the same texts; the experts that its graph chose, and its logits, give the figures that were measured here.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GateValues, readBaseModel, scaledGates, writeLoraAdapter } from "../../src/adapter/index.ts";
import { DEMO_MODEL, randomRouters } from "../../src/adapter/random-routers.test-data.ts";
import type { EngineSettings } from "../../src/engine/engine-settings.ts";
import { LogitDrift } from "../../src/routing/logit-drift.ts";
import { cutTexts } from "../../src/tune/eval/cut-texts.ts";
import { DocumentRunner, type RunDocument } from "../../src/tune/eval/document-runner.ts";
import { DocumentSummer } from "../../src/tune/eval/document-sums.ts";

const folder = mkdtempSync(join(tmpdir(), "stock-adapter-"));
afterAll(() => rmSync(folder, { recursive: true }));

const engine: EngineSettings = {
  ...{ memory: { kind: "all" }, policy: "lru", microBatchTokens: undefined, threads: 1 },
  ...{ backend: undefined, io: undefined, reservedBytes: 0, verbose: false },
};
const TOKENS = 64;
const documents = cutTexts(DEMO_MODEL, engine, {
  texts: ["prose", "python"].map((name) => ({ path: join(DEMO_MODEL, `../text/${name}.txt`) })),
  ...{ documentTokens: TOKENS, documents: 3 },
});

interface Said {
  /** By document, `[tokens][layers][used]`. */
  readonly experts: readonly Uint16Array[];
  /** `[tokens of all documents][vocabulary]` */
  readonly logits: Float32Array;
}

const base = readBaseModel(DEMO_MODEL);
const artifact = randomRouters(base);
const adapter = join(folder, "tuned.gguf");
let plain: Said;
let tuned: Said;
let half: Said;
let measured: ReturnType<typeof measure>;

beforeAll(async () => {
  await writeLoraAdapter(adapter, artifact, base);
  plain = await stock(null, 1);
  tuned = await stock(adapter, 1);
  half = await stock(adapter, 0.5);
  measured = measure([0.5, 1]);
}, 240_000);

/** What the program says, which imports nothing of ours. */
async function stock(adapterPath: string | null, scale: number): Promise<Said> {
  const logitsFile = join(folder, "logits");
  const texts = documents.map(({ tokens }) => [...tokens]);
  const message = JSON.stringify({ model: DEMO_MODEL, adapter: adapterPath, scale, texts, logitsFile });
  const program = join(import.meta.dirname, "stock-llama.mjs");
  expect(readFileSync(program, "utf8").match(/from "(.*?)"/g)).toEqual([
    ...['from "node:fs"', 'from "node:module"', 'from "node:path"', 'from "koffi"'],
  ]);
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(message);
  let text = "";
  for await (const part of child.stdout.setEncoding("utf8")) text += part;
  const said = JSON.parse(text) as { experts: Record<string, number[][]>[] };
  const blocks = base.gates.map(({ block }) => block);
  const experts = said.experts.map((chosen, i) =>
    Uint16Array.from(
      [...documents[i].tokens.keys()].flatMap((token) => blocks.flatMap((block) => chosen[block][token])),
    ),
  );
  const bytes = readFileSync(logitsFile);
  return { experts, logits: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) };
}

/** What `tune eval` sees of the same routers, in memory in the place of the model's own: by scale, by document. */
function measure(scales: readonly number[]): ReadonlyMap<number, readonly RunDocument[]> {
  using runner = new DocumentRunner({ model: DEMO_MODEL, documentTokens: TOKENS, session: { threads: 1 } });
  using reference = runner.predictionRows();
  const runs = (gates: readonly GateValues[], isBase: boolean) => {
    runner.use({ gates });
    return documents.map((document, i) => runner.forced([document], reference, isBase, i * (TOKENS - 1))[0]);
  };
  return new Map([
    [0, runs([], true)],
    ...scales.map((scale) => [scale, runs(scaledGates(base, artifact, scale), false)] as const),
  ]);
}

function overlap(experts: readonly Uint16Array[]): number {
  const shape = { layers: base.gates.length, experts: base.experts, expertsUsed: base.used };
  const summer = new DocumentSummer(shape, []);
  const { columns } = summer;
  let [reused, uses] = [0, 0];
  for (const own of experts) {
    const document = { domain: "", tokens: TOKENS, experts: own, drift: undefined, repetition: 0 };
    const row = summer.row(document, new Float64Array(shape.layers * shape.experts));
    for (let layer = 0; layer < shape.layers; layer++) {
      reused += row[columns.overlap + layer];
      uses += row[columns.overlapUses + layer];
    }
  }
  return reused / uses;
}

function sameChoices(a: readonly Uint16Array[], b: readonly Uint16Array[]): number {
  let [same, all] = [0, 0];
  for (const [i, own] of a.entries())
    for (let slot = 0; slot < own.length; slot += base.used) {
      const other = b[i].subarray(slot, slot + base.used);
      for (const expert of own.subarray(slot, slot + base.used)) if (other.includes(expert)) same++;
      all += base.used;
    }
  return same / all;
}

test.each([
  ["no adapter", 0, () => plain],
  ["scale 0.5", 0.5, () => half],
  ["scale 1", 1, () => tuned],
] as const)("%s: the experts that stock llama.cpp chooses are those that were measured", (_, scale, said) => {
  const own = measured.get(scale)!.map(({ experts }) => experts);
  // Rounding: an adapter adds W1 - W0 to W0's product, and repacked weights are multiplied in another order.
  expect(sameChoices(said().experts, own)).toBeGreaterThan(0.995);
  expect(overlap(said().experts)).toBeCloseTo(overlap(own), 2);
  if (scale > 0) expect(sameChoices(said().experts, plain.experts)).toBeLessThan(0.97);
});

test.each([
  ["scale 0.5", 0.5, () => half],
  ["scale 1", 1, () => tuned],
] as const)("%s: KL and perplexity of its logits are those that were measured", (_, scale, said) => {
  const drift = new LogitDrift();
  const vocabulary = plain.logits.length / (documents.length * TOKENS);
  const row = (logits: Float32Array, at: number) => logits.subarray(at * vocabulary, (at + 1) * vocabulary);
  for (const [i, { tokens }] of documents.entries())
    for (let position = 0; position + 1 < tokens.length; position++)
      drift.add(
        row(plain.logits, i * TOKENS + position),
        row(said().logits, i * TOKENS + position),
        tokens[position + 1],
      );
  const { meanKl, perplexity } = drift.statistics();
  const own = measured.get(scale)!.map(({ drift: sums }) => sums!);
  const sum = (of: (sums: (typeof own)[number]) => number) => own.reduce((total, sums) => total + of(sums), 0);
  const predictions = sum((sums) => sums.predictions);
  expect(meanKl).toBeGreaterThan(0.005);
  expect(meanKl / (sum(({ kl }) => kl) / predictions)).toBeCloseTo(1, 1);
  expect(perplexity / Math.exp(sum(({ loss }) => loss) / predictions)).toBeCloseTo(1, 2);
});
