/**
 * `npm run bench:hints`: whether routing hints pay. First from recorded routing, then on the engine with the inflated model at a
 * quarter of its experts in memory: time to the first token, time of the next 32, bytes read and written, memory, by what is in which
 * store. Parts can be measured one after the other: what the result file has of an earlier run stays.
 */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { type KeptRun, type LiveVariant, runLiveHints, type StoreState } from "./hints/live.ts";
import { ANSWER_TOKENS, recordedRequests } from "./hints/requests.ts";
import { HintSimulator, type SimulatedRow, simulatedCases } from "./hints/simulated.ts";
import { type LiveHintRow, liveRows } from "./hints/summary.ts";
import { inflatedModel } from "./inflate.ts";
import { describeMachine } from "./machine.ts";

const HELP = `Usage: npm run bench:hints -- [options]

  --only PART       simulated or live (default: both)
  --policies A,B    (default: lru,warmset)
  --states A,B      of the store: off, empty, foreign, alike, same (default: all)
  --engines A,B     that keep it: log, nemo, sqlite, lmdb; all but the first only with the state alike (default: log,nemo)
  --requests N      of a live run (default: 8)
  --tokens N        forced behind each prompt (default: 32)
  --rounds N        (default: 3)
  --threads N       (default: all cores)
  --model FILE      (default: the demo model inflated to 2.6 GB, a third of the usual bench model: runs are as much shorter)
  --out FILE        (default: bench/results/hints.json)
  --fresh           forget what the file has
  --json            print the result as JSON
`;
const STATES = ["off", "empty", "foreign", "alike", "same"] as const satisfies readonly StoreState[];
const ENGINES = ["log", "nemo", "sqlite", "lmdb"] as const;
/** 10 MB an expert: a token reads and computes a third of the standard model's. */
const TARGET = { width: 1024, innerWidth: 3072 };

interface Result {
  readonly kind: "hints";
  readonly date: string;
  readonly machine: ReturnType<typeof describeMachine>;
  readonly simulated: readonly SimulatedRow[];
  readonly live: {
    readonly modelFile: string;
    readonly rows: readonly LiveHintRow[];
    readonly runs: readonly KeptRun[];
  };
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      policies: { type: "string", default: "lru,warmset" },
      states: { type: "string", default: STATES.join(",") },
      engines: { type: "string", default: "log,nemo" },
      requests: { type: "string", default: "8" },
      tokens: { type: "string", default: "32" },
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: String(availableParallelism()) },
      model: { type: "string" },
      out: { type: "string", default: resultFile("hints") },
      fresh: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  let result = values.fresh ? emptyResult() : olderResult(values.out);
  const keep = (part: Partial<Result>) => {
    result = { ...result, ...part, date: new Date().toISOString(), machine: describeMachine() };
    keepResult(values.out, result);
  };
  const requests = await recordedRequests(signal);
  if (values.only !== "live") {
    const simulator = new HintSimulator(requests);
    await simulator.prepare();
    keep({ simulated: simulatedCases().flatMap((one) => simulator.run(one)) });
  }
  if (values.only !== "simulated") {
    const modelPath = values.model ?? (await inflatedModel(DEMO_MODEL, { signal, target: TARGET }));
    const modelFile = modelPath.slice(modelPath.lastIndexOf("/") + 1);
    if (result.live.modelFile !== modelFile) keep({ live: { modelFile, rows: [], runs: [] } });
    const firstRound = 1 + Math.max(-1, ...result.live.runs.map(({ round }) => round));
    await runLiveHints(requests, {
      ...{ modelPath, signal, firstRound, policies: values.policies.split(",") },
      variants: variants(chosen("--states", values.states, STATES), chosen("--engines", values.engines, ENGINES)),
      requests: wholeNumber("--requests", values.requests, 1),
      decodeTokens: Math.min(ANSWER_TOKENS, wholeNumber("--tokens", values.tokens, 1)),
      rounds: wholeNumber("--rounds", values.rounds, 1),
      threads: wholeNumber("--threads", values.threads, 1),
      onRun(run) {
        const runs = [...result.live.runs, run];
        keep({ live: { modelFile, runs, rows: liveRows(runs) } });
        const [row] = liveRows([run]);
        progress(
          `${run.policy}, ${run.state}${run.engine === null ? "" : ` in ${run.engine}`}, round ${run.round}: first token ${row.ttftMs.toFixed(0)} ms, then ${row.tpotMs.toFixed(1)} ms a token`,
        );
      },
    });
  }
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${tables(result)}\n`);
});

function emptyResult(): Result {
  const live = { modelFile: "", rows: [], runs: [] };
  return { kind: "hints", date: "", machine: describeMachine(), simulated: [], live };
}

function olderResult(file: string): Result {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Result) : emptyResult();
}

function chosen<T extends string>(flag: string, text: string, known: readonly T[]): readonly T[] {
  return text.split(",").map((name) => {
    const found = known.find((one) => one === name);
    if (found === undefined) throw new Error(`${flag}: there is no ${name}; there are ${known.join(", ")}`);
    return found;
  });
}

/** All states with the first engine, the one that says most with the others. */
function variants(states: readonly StoreState[], engines: readonly (typeof ENGINES)[number][]): readonly LiveVariant[] {
  const [first, ...others] = engines;
  return [
    ...states.map((state) => ({ state, engine: state === "off" ? undefined : first })),
    ...(states.includes("alike") ? others.map((engine) => ({ state: "alike" as const, engine })) : []),
  ];
}

function tables({ simulated, live }: Result): string {
  const ms = (value: number) => value.toFixed(0);
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  const mb = (value: number) => (value / 1e6).toFixed(1);
  const simulatedTable = textTable(
    ["simulated: policy, what the store knows", "TTFT, ms", "TPOT, ms", "hits", "prompt, MB", "MB/token"],
    simulated
      .filter(({ kind }) => kind === "all")
      .map((row) => [
        `${row.policy}, ${row.knows}, blocks of ${row.blockTokens}, ${row.bits} bits${row.secondSight ? ", second sight" : ""}`,
        ...[ms(row.ttftMs), row.tpot32Ms.toFixed(1), percent(row.decodeHitRate)],
        ...[mb(row.prefillBytes), mb(row.decodeBytesPerToken)],
      ]),
  );
  const liveTable = textTable(
    [
      "measured: policy, store, prompts",
      "runs",
      "TTFT, ms",
      "TPOT, ms",
      "hits",
      "prompt, MB",
      "MB/token",
      "hinted",
      "RSS, MB",
      "written, MB",
    ],
    live.rows.map((row) => [
      `${row.policy}, ${row.state}${row.engine === null ? "" : ` in ${row.engine}`}, ${row.kind}`,
      ...[String(row.runs), ms(row.ttftMs), row.tpotMs.toFixed(1), percent(row.decodeHitRate)],
      ...[
        mb(row.prefillBytes),
        mb(row.decodeBytesPerToken),
        row.blocksHinted === null ? "" : percent(row.blocksHinted),
      ],
      ...[ms(row.peakRssBytes / 1e6), mb(row.bytesWritten)],
    ]),
  );
  return `${simulatedTable}\n\n${liveTable}`;
}
