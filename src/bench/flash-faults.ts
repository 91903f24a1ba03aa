/**
 * `npm run bench:flash-faults`: caches on a real file whose processes are killed, hundreds of times, at random points of their writes;
 * what the next process finds; the same files with bits flipped; and how long a large cache takes to open after a kill. It ends with
 * an error at the first value that is wrong or lost.
 *
 * A kill does not lose what the kernel has taken, and with O_DIRECT that is on the device. Pages torn or out of order, as after a loss
 * of power, are injected by the fake device of the engines' own tests.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { type DamageFigures, noDamage, useDamaged } from "./flash-faults/damaged-file.ts";
import { type KillFigures, runKills } from "./flash-faults/kill-run.ts";
import { type LargeOpen, openLargeAfterKill } from "./flash-faults/large-open.ts";
import { FAULT_ENGINES, type FaultEngine } from "./flash-faults/subject.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { quantile } from "./quantile.ts";

const HELP = `Usage: npm run bench:flash-faults -- [options]

  --kills LIST     of each engine's processes (default: nemo=300,log=100,set=100)
  --files N        files, each with its process, at a time (default: 2)
  --large MIB      of the cache whose opening is timed; 0: none (default: 1024)
  --seed N         (default: 1)
  --folder DIR     where the files are made, and removed (default: the system's temporary folder)
  --out FILE       where the figures are kept (default: bench/results/flash-faults.json); rows of engines that are not
                   run, and the large cache if that is left out, stay as they were there
  --json           print the figures as JSON
`;

/** A file is damaged and opened so often when its processes have ended. */
const DAMAGES = 4;

interface Row extends Omit<KillFigures, "openMs"> {
  readonly engine: FaultEngine;
  readonly date: string;
  readonly seed: number;
  readonly seconds: number;
  /** Objects returned that were not what was put, or older than flushed; objects of completed zones not found. The run ends at the first. */
  readonly wrong: 0;
  readonly lostOfCompleted: 0;
  readonly openMs: { readonly opens: number; readonly p50: number; readonly max: number };
  readonly damaged: DamageFigures;
}

interface FaultsResult {
  readonly version: string;
  readonly machine: ReturnType<typeof describeMachine>;
  readonly rows: readonly Row[];
  readonly large: LargeOpen | null;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "nemo=300,log=100,set=100" },
      files: { type: "string", default: "2" },
      large: { type: "string", default: "1024" },
      seed: { type: "string", default: "1" },
      folder: { type: "string", default: tmpdir() },
      out: { type: "string", default: resultFile("flash-faults") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const seed = wholeNumber("--seed", values.seed);
  const filesAtOnce = wholeNumber("--files", values.files, 1);
  const plan = killsByEngine(values.kills);
  const largeBytes = wholeNumber("--large", values.large) * 2 ** 20;
  const folder = fs.mkdtempSync(path.join(values.folder, "flash-faults-"));
  try {
    const rows: Row[] = [];
    for (const { engine, kills } of plan) {
      const row = await killedAndDamaged(engine, { kills, folder, seed, filesAtOnce, signal });
      progress(`${engine}: ${kills} kills in ${row.seconds} s`);
      rows.push(row);
    }
    const large = largeBytes === 0 ? null : await openLargeAfterKill(path.join(folder, "large"), largeBytes, signal);
    const kept = keptBefore(values.out);
    const result: FaultsResult = {
      version: warmsetVersion(),
      machine: describeMachine(),
      rows: FAULT_ENGINES.flatMap((name) => [...rows, ...kept.rows].find(({ engine }) => engine === name) ?? []),
      large: large ?? kept.large,
    };
    keepResult(values.out, result);
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : textOf(result));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

function keptBefore(file: string): Pick<FaultsResult, "rows" | "large"> {
  if (!fs.existsSync(file)) return { rows: [], large: null };
  return JSON.parse(fs.readFileSync(file, "utf8")) as FaultsResult;
}

function killsByEngine(list: string): { engine: FaultEngine; kills: number }[] {
  return list.split(",").map((part) => {
    const [name, kills = ""] = part.split("=");
    const engine = FAULT_ENGINES.find((known) => known === name);
    if (engine === undefined) throw new Error(`--kills takes ${FAULT_ENGINES.join(", ")}, not "${name}"`);
    return { engine, kills: wholeNumber("--kills", kills, 1) };
  });
}

async function killedAndDamaged(
  engine: FaultEngine,
  options: Omit<Parameters<typeof runKills>[0], "engine" | "onFile">,
): Promise<Row> {
  const damaged = noDamage();
  const begun = performance.now();
  const { openMs, ...figures } = await runKills({
    ...options,
    engine,
    onFile: async (file, subject, random) => {
      for (let i = 0; i < DAMAGES; i++) await useDamaged(file, subject, random, damaged);
      progress(`${engine}: ${file.split("-").at(-1)}`);
    },
  });
  const opens = { opens: openMs.length, p50: quantile(openMs, 0.5), max: Math.max(...openMs) };
  const seconds = Math.round((performance.now() - begun) / 1000);
  const { seed } = options;
  const date = new Date().toISOString();
  return { engine, date, seed, seconds, ...figures, wrong: 0, lostOfCompleted: 0, openMs: opens, damaged };
}

function textOf({ rows, large }: FaultsResult): string {
  const head = ["engine", "kills", "in writes", "compared", "wrong", "had to be found", "lost", "open p50 / max ms"];
  const lines = rows.map((row) => [
    row.engine,
    ...[row.kills, row.killsInWrites, row.seen, row.wrong, row.obliged, row.lostOfCompleted].map(String),
    `${row.openMs.p50.toFixed(1)} / ${row.openMs.max.toFixed(1)}`,
  ]);
  const flips = rows.map(
    ({ engine, damaged }) =>
      `${engine}: ${damaged.flippedBits} bits flipped and ${damaged.otherDamage} pages or ends damaged before ${damaged.opened} openings ` +
      `(${damaged.refused} refused): ${damaged.seen} values, none wrong\n`,
  );
  const largeLine =
    large === null
      ? ""
      : `A cache of ${large.bytes} bytes with ${large.objects} objects opens after a kill in ${large.openMs.toFixed(0)} ms\n`;
  return `${textTable(head, lines)}\n${flips.join("")}${largeLine}`;
}
