/**
 * `npm run bench:hint-stores`: what keeps hints best. The engines of the flash cache, SQLite and LMDB with the same records on the
 * same disk: puts, look-ups alone and beside a model that streams its experts, opening after a clean close and after a kill, bytes
 * written, memory, disk. Packages that are not installed are left out, which the result says.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import type { FillFigures, GetFigures, StoreJob, StoreName } from "./hints/store-protocol.ts";
import { benchFolder, inflatedModel } from "./inflate.ts";
import { describeMachine } from "./machine.ts";
import { dropPageCache } from "./page-cache.ts";
import { runBenchChild } from "./run-child.ts";

const HELP = `Usage: npm run bench:hint-stores -- [options]

  --stores A,B      (default: log,nemo,set,sqlite,lmdb)
  --records A,B     (default: 10000,1000000)
  --gets N          look-ups one after the other (default: 20000)
  --model FILE      that is read beside (default: the demo model inflated to 2.6 GB)
  --out FILE        rows in it of other stores and sizes stay (default: bench/results/hint-stores.json)
  --json            print the result as JSON
`;
const STORES = ["log", "nemo", "set", "sqlite", "lmdb"] as const satisfies readonly StoreName[];
const TARGET = { width: 1024, innerWidth: 3072 };
const TIMEOUT_MS = 4 * 60_000;
/** The load has begun to read. */
const LOAD_STARTS_MS = 1500;

interface Row {
  readonly store: StoreName;
  readonly records: number;
  readonly fill: FillFigures;
  /** With a cold page cache. */
  readonly alone: GetFigures;
  readonly whileStreaming: GetFigures;
  /** The records that were put before, and flushed, must be there again; those put again have the same values. */
  readonly afterKill: GetFigures | null;
  /** Why it could not be opened then. */
  readonly problem: string | null;
}

interface Result {
  readonly kind: "hint-stores";
  readonly date: string;
  readonly machine: ReturnType<typeof describeMachine>;
  readonly gets: number;
  readonly rows: readonly Row[];
  readonly leftOut: readonly string[];
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      stores: { type: "string", default: STORES.join(",") },
      records: { type: "string", default: "10000,1000000" },
      gets: { type: "string", default: "20000" },
      model: { type: "string" },
      out: { type: "string", default: resultFile("hint-stores") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const gets = wholeNumber("--gets", values.gets, 1);
  const modelPath = values.model ?? (await inflatedModel(DEMO_MODEL, { signal, target: TARGET }));
  let { rows, leftOut } = older(values.out);
  const result = (): Result => ({
    ...{ kind: "hint-stores", date: new Date().toISOString(), machine: describeMachine(), gets, rows, leftOut },
  });
  for (const text of values.records.split(",")) {
    const records = wholeNumber("--records", text, 1);
    for (const name of values.stores.split(",")) {
      const store = STORES.find((known) => known === name);
      if (store === undefined) throw new Error(`--stores: there is no ${name}; there are ${STORES.join(", ")}`);
      progress(`${name}, ${records} records`);
      try {
        const row = await measure({ store, records, gets }, modelPath, signal);
        rows = [...rows.filter((one) => one.store !== store || one.records !== records), row];
        leftOut = leftOut.filter((one) => !one.startsWith(`${name}, ${records} `));
      } catch (error) {
        signal.throwIfAborted();
        const reason = `${name}, ${records} records: ${error instanceof Error ? error.message : String(error)}`;
        progress(reason);
        leftOut = [...leftOut.filter((one) => !one.startsWith(`${name}, ${records} `)), reason];
      }
      keepResult(values.out, result());
    }
  }
  process.stdout.write(values.json ? `${JSON.stringify(result())}\n` : `${table(rows)}\n${leftOut.join("\n")}\n`);
});

function older(file: string): { rows: readonly Row[]; leftOut: readonly string[] } {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Result) : { rows: [], leftOut: [] };
}

async function measure(job: Omit<StoreJob, "step" | "path">, modelPath: string, signal: AbortSignal): Promise<Row> {
  mkdirSync(benchFolder(), { recursive: true });
  const folder = mkdtempSync(path.join(benchFolder(), "stores-"));
  const file = path.join(folder, "store");
  const step = async <T>(name: StoreJob["step"]): Promise<T> => {
    const outcome = await runBenchChild(
      "./hints/store-run.js",
      { ...job, path: file, step: name },
      {
        ...{ nodeFlags: [], signal, timeoutMs: TIMEOUT_MS },
      },
    );
    if (outcome.status === "failed") throw new Error(shortReason(outcome.reason));
    return outcome.result as T;
  };
  try {
    const fill = await step<FillFigures>("fill");
    dropPageCache(file);
    const alone = await step<GetFigures>("gets");
    dropPageCache(file);
    const whileStreaming = await besideLoad(modelPath, signal, () => step<GetFigures>("gets"));
    await step("die").catch((error: Error) => {
      if (!error.message.startsWith("SIGKILL")) throw error;
    });
    dropPageCache(file);
    let problem: string | null = null;
    const afterKill = await step<GetFigures>("gets").catch((error: Error) => {
      signal.throwIfAborted();
      problem = error.message;
      return null;
    });
    return { store: job.store, records: job.records, fill, alone, whileStreaming, afterKill, problem };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Of a program's last words, the line that names the error: some packages print their whole source before it. */
function shortReason(reason: string): string {
  const line = reason.split("\n").find((text) => /^\w*Error\b.{0,200}$/.test(text));
  return line ?? reason.slice(0, 200);
}

/** While another process reads a model as fast as the drive lets it. */
async function besideLoad<T>(modelPath: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const enough = new AbortController();
  const load = runBenchChild(
    "./hints/drive-load.js",
    { modelPath },
    {
      ...{ nodeFlags: [], signal: AbortSignal.any([signal, enough.signal]) },
    },
  );
  // It ends only when it is stopped, or has failed: then its words are the error.
  const failed = load.then((outcome) => {
    throw new Error(outcome.status === "failed" ? outcome.reason : "the load ended by itself");
  });
  failed.catch(() => {});
  try {
    await Promise.race([pause(LOAD_STARTS_MS), failed]);
    return await Promise.race([work(), failed]);
  } finally {
    enough.abort();
    await load.catch(() => {});
  }
}

function table(rows: readonly Row[]): string {
  const us = ({ p50Us, p99Us, p9999Us }: GetFigures) =>
    [p50Us, p99Us, p9999Us].map((value) => value.toFixed(0)).join(" / ");
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  return textTable(
    [
      "store, records",
      ...["puts/s", "written, MB", "on disk, MB", "RSS filled, MB", "RSS read, MB"],
      ...["get p50 / p99 / p99.99, us", "while streaming", "open, ms", "after a kill", "found then"],
    ],
    rows.map(({ records, fill, alone, whileStreaming, afterKill, problem }) => [
      `${fill.name}, ${records}`,
      ...[fill.putsPerSecond.toFixed(0), mb(fill.bytesWritten), mb(fill.bytesOnDisk)],
      ...[mb(fill.rssBytes), mb(alone.rssBytes), us(alone), us(whileStreaming)],
      alone.openMs.toFixed(0),
      ...(afterKill === null
        ? [problem ?? "", ""]
        : [afterKill.openMs.toFixed(0), `${(100 * afterKill.foundShare).toFixed(2)} %`]),
    ]),
  );
}
