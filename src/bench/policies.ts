/**
 * `npm run bench:policies`: what the bookkeeping of every policy costs, at the shapes of three models. Time of a stop and of a
 * token on the model's thread, its share of a token of 100 ms, and what a stop leaves on the heap.
 */
import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { policyNames } from "../policy/by-name.ts";
import { splitPolicyNames } from "../policy/policy-switches.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import { COST_SHAPES, type CostJob, type PolicyCost } from "./policy-cost.ts";
import { HEAP_FLAGS } from "./policy-cost-flags.ts";
import { runBenchChild } from "./run-child.ts";

const HELP = `Usage: npm run bench:policies -- [options]

  --policies A,B    (default: every name, additions on lru, and both finemoe with their searches in the model's thread)
  --shapes A,B      (default: ${COST_SHAPES.map(({ name }) => name).join(",")})
  --stops N         timed router stops (default: 10000)
  --warmup N        stops before (default: 5000)
  --share P         of all experts in the cache, percent (default: 25)
  --pause US        between two stops, microseconds (default: 100)
  --out FILE        where the result is kept; rows in it of other policies and shapes stay, if they were measured alike
                    (default: bench/results/policy-cost.json)
  --json            print the result as JSON
`;
const TOKEN_US = 100_000;
const TIMEOUT_MS = 2 * 60_000;

/** A row of the result. */
interface Row extends PolicyCost {
  /** Of a token of 100 ms, on average. */
  readonly tokenShare: number;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      policies: { type: "string", default: everyPolicy().join(",") },
      shapes: { type: "string", default: COST_SHAPES.map(({ name }) => name).join(",") },
      stops: { type: "string", default: "10000" },
      warmup: { type: "string", default: "5000" },
      share: { type: "string", default: "25" },
      pause: { type: "string", default: "100" },
      out: { type: "string", default: resultFile("policy-cost") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const conditions: Conditions = {
    stops: wholeNumber("--stops", values.stops, 1),
    warmupStops: wholeNumber("--warmup", values.warmup),
    share: wholeNumber("--share", values.share, 1) / 100,
    pauseMs: wholeNumber("--pause", values.pause) / 1000,
  };
  let rows = olderRows(values.out, conditions);
  for (const name of values.shapes.split(",")) {
    const shape = COST_SHAPES.find((known) => known.name === name);
    if (shape === undefined) throw new RangeError(`no shape ${name}; there are ${COST_SHAPES.map((s) => s.name)}`);
    for (const policy of splitPolicyNames(values.policies)) {
      progress(`${policy} at ${name}`);
      const cost = await costOf({ policy, shape, ...conditions }, signal);
      rows = withRow(rows, { ...cost, tokenShare: cost.tokenUs.mean / TOKEN_US });
      keepResult(values.out, resultOf(conditions, rows));
    }
  }
  const result = resultOf(conditions, rows);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${table(rows)}\n`);
});

type Conditions = Omit<CostJob, "policy" | "shape">;

function resultOf(conditions: Conditions, rows: readonly Row[]) {
  return { kind: "policy-cost", date: new Date().toISOString(), machine: describeMachine(), conditions, rows };
}

/** What an earlier run has kept, so that it can be measured in parts. @throws RangeError for other conditions */
function olderRows(file: string, conditions: Conditions): readonly Row[] {
  if (!existsSync(file)) return [];
  const older = JSON.parse(readFileSync(file, "utf8")) as ReturnType<typeof resultOf>;
  if (JSON.stringify(older.conditions) !== JSON.stringify(conditions))
    throw new RangeError(`${file} was measured in another way; name another file with --out, or remove it.`);
  return older.rows;
}

/** In the place of the one measured before, else at the end. */
function withRow(rows: readonly Row[], row: Row): readonly Row[] {
  const at = rows.findIndex(({ policy, shape }) => policy === row.policy && shape === row.shape);
  return at < 0 ? [...rows, row] : rows.with(at, row);
}

function everyPolicy(): readonly string[] {
  const named = policyNames().map((name) => (name.startsWith("+") ? `lru${name}` : name));
  return [...named, "finemoe:mode=inline", "finemoe-plus:mode=inline"];
}

async function costOf(job: CostJob, signal: AbortSignal): Promise<PolicyCost> {
  const nodeFlags = [...HOST_NODE_FLAGS, ...HEAP_FLAGS];
  const outcome = await runBenchChild("./policy-cost-run.js", job, { nodeFlags, signal, timeoutMs: TIMEOUT_MS });
  if (outcome.status === "failed") throw new Error(`${job.policy} at ${job.shape.name}: ${outcome.reason}`);
  return outcome.result as PolicyCost;
}

function table(rows: readonly Row[]): string {
  return textTable(
    [
      "policy, shape",
      "stop: p50, us",
      "p99, us",
      "token: mean, us",
      "p99, us",
      "of 100 ms",
      "bytes/stop",
      "hits",
      "read ahead",
    ],
    rows.map(({ policy, shape, stopUs, tokenUs, tokenShare, bytesPerStop, hitRate, readsAhead }) => [
      `${policy}, ${shape}`,
      stopUs.p50.toFixed(1),
      stopUs.p99.toFixed(1),
      tokenUs.mean.toFixed(0),
      tokenUs.p99.toFixed(0),
      `${(100 * tokenShare).toFixed(2)} %`,
      bytesPerStop.toFixed(0),
      `${(100 * hitRate).toFixed(0)} %`,
      readsAhead.toFixed(1),
    ]),
  );
}
