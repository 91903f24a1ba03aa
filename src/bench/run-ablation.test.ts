import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ABLATIONS, type Ablation, ablationJob, ablationsNamed, DEFAULT_ENGINE } from "./ablation-plan.ts";
import { type AblationResult, ablationRows, ablationTable } from "./ablation-report.ts";
import type { StepFigures } from "./contender-protocol.ts";
import { readHeldOutTexts } from "./held-out.ts";
import { experts, measuredRun, ours, run } from "./report.test-data.ts";
import { runAblation } from "./run-ablation.ts";

const models = fileURLToPath(new URL("../../models", import.meta.url));

test("each ablation changes one thing of the default engine's job", () => {
  const base = { modelPath: "m", windows: [], warmupTokens: 0, threads: 1, memoryBytes: 1 };
  const expected = ablationJob(DEFAULT_ENGINE, base);
  for (const ablation of ABLATIONS.slice(1)) {
    const job = ablationJob(ablation, base);
    const changed = (["policy", "variant", "nodeFlags"] as const).filter((key) => job[key] !== expected[key]);
    expect(changed.length).toBe(1);
    expect(Object.keys(job.variant ?? { one: 1 }).length).toBe(1);
  }
  expect(ABLATIONS.map(({ name }) => name).length).toBe(new Set(ABLATIONS.map(({ name }) => name)).size);
});

test("ablations are chosen by words of their names, beside the default engine", () => {
  expect(ablationsNamed(["pread", "lru"]).map(({ name }) => name)).toEqual([
    DEFAULT_ENGINE.name,
    "pread threads instead of AIO",
    "policy lru",
  ]);
  expect(() => ablationsNamed(["nothing like it"])).toThrow(/page cache/);
});

test("rows are medians per token, held against the default engine", () => {
  const steps: StepFigures = {
    wallMs: 900,
    computeMs: 500,
    stallMs: 300,
    managementMs: 80,
    predictionMs: 20,
    graphStops: 160,
  };
  const variant: Ablation = { name: "variant", variant: { poll: 0 } };
  const finished = (ms: number) => measuredRun(run(ours, ms, { steps, experts: experts({ hits: 1, misses: 3 }) }));
  const [reference, row] = ablationRows(
    new Map([
      [DEFAULT_ENGINE, [finished(100), finished(90), finished(80)]],
      [variant, [finished(180), measuredRun("killed")]],
    ]),
  );
  expect(reference).toMatchObject({ runs: 3, overDefault: 1, agreement: 1, hitRate: 0.25, graphStopsPerToken: 16 });
  expect(reference.msPerToken).toEqual({ wall: 90, compute: 50, stall: 30, management: 8, prediction: 2 });
  expect(row).toMatchObject({ runs: 1, attempts: 2, variant: { poll: 0 }, failures: ["killed by the memory limit"] });
  expect(row.overDefault).toBeCloseTo(0.5);
  expect(ablationTable([reference, row]).split("\n").at(-1)).toBe("variant: killed by the memory limit");
});

test("an ablation runs, hands over its result after each run, and a failing variant does not end it", async () => {
  const kept: AblationResult[] = [];
  const broken: Ablation = { name: "broken", policy: "no-such-policy" };
  const result = await runAblation({
    modelPath: path.join(models, "demo-moe-q8_0.gguf"),
    texts: readHeldOutTexts([path.join(models, "text")]),
    ablations: [DEFAULT_ENGINE, broken, { name: "without a lasting thread pool", variant: { threadPool: false } }],
    // What Node itself needs is many times this little model; everything is resident then.
    memoryFraction: 30,
    decodeTokens: 8,
    warmupTokens: 2,
    repetitions: 1,
    threads: 1,
    timeoutMs: 60_000,
    onProgress: () => {},
    onResult: (soFar) => kept.push(soFar),
    signal: new AbortController().signal,
  });
  expect(kept.map(({ complete }) => complete)).toEqual([false, false, true]);
  expect(result.rows.map(({ runs }) => runs)).toEqual([1, 0, 1]);
  expect(result.rows[1].failures.join()).toMatch(/no-such-policy/);
  expect(result.rows[2].agreement).toBe(1);
  expect(result.rows[2].msPerToken.wall).toBeGreaterThan(0);
});
