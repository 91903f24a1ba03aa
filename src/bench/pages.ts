/**
 * `npm run bench:pages`: what the kernel takes for the pages of expert memory, and what direct reads into them cost the
 * thread that asks. It explains why evicted pages are moved to the next expert and not given back.
 */
import { parseArgs } from "node:util";
import { inflatedDemo } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import { type MemoryCosts, measureMemory, measureReads, type ReadCosts, type ReadTarget } from "./page-costs.ts";
import { median } from "./quantile.ts";

const HELP = `Usage: npm run bench:pages -- [options]

  --file FILE   file to read from (default: the demo model, inflated to 6.9 GB)
  --mib N       memory of one measurement, a multiple of 8 (default: 64)
  --read-mib N  read in one measurement (default: 256)
  --rounds N    measurements, after one that does not count (default: 9)
  --out FILE    where the result is kept (default: bench/results/pages.json)
  --json        print the result as JSON
`;
const MIB = 2 ** 20;

const MEMORY: Readonly<Record<keyof MemoryCosts, string>> = {
  faultSmall: "fault in fresh 4 KiB pages",
  faultHuge: "fault in fresh huge pages",
  moveSmall: "move 4 KiB pages (mremap), as experts lie",
  moveAligned: "move 4 KiB pages, alike within 2 MiB",
  moveHuge: "move huge pages for the first time",
  freeSmall: "free 4 KiB pages (MADV_DONTNEED)",
};
const READS: Readonly<Record<ReadTarget, string>> = {
  fresh: "into fresh 4 KiB pages",
  "fresh huge": "into fresh huge pages",
  present: "into 4 KiB pages that are there",
  "present huge": "into huge pages that are there",
  moved: "into pages moved from huge ones",
};

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      file: { type: "string" },
      mib: { type: "string", default: "64" },
      "read-mib": { type: "string", default: "256" },
      rounds: { type: "string", default: "9" },
      out: { type: "string", default: resultFile("pages") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const memoryBytes = wholeNumber("--mib", values.mib, 8) * MIB;
  if (memoryBytes % (8 * MIB) !== 0) throw new Error(`--mib takes multiples of 8, not ${values.mib}`);
  const readBytes = wholeNumber("--read-mib", values["read-mib"], 9) * MIB;
  const rounds = wholeNumber("--rounds", values.rounds, 1);
  const file = values.file ?? (await inflatedDemo(signal));

  const memory: MemoryCosts[] = [];
  const reads = new Map<ReadTarget, (ReadCosts | undefined)[]>();
  const targets = Object.keys(READS) as ReadTarget[];
  for (let round = 0; round <= rounds; round++) {
    // All of it holds the thread; between rounds a signal is heard.
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    progress(round === 0 ? "warming up" : `round ${round} of ${rounds}`);
    const costs = measureMemory(memoryBytes);
    if (round > 0) memory.push(costs);
    for (const [index, target] of targets.entries()) {
      const cost = measureReads(file, target, readBytes, 1 + round * targets.length + index);
      if (round > 0) reads.set(target, [...(reads.get(target) ?? []), cost]);
    }
  }

  const result = {
    kind: "pages",
    date: new Date().toISOString(),
    machine: describeMachine(),
    memoryBytes,
    readBytes,
    rounds,
    cpuUsPerMiB: Object.fromEntries(
      (Object.keys(MEMORY) as (keyof MemoryCosts)[]).map((name) => [name, medianOf(memory.map((one) => one[name]))]),
    ),
    reads: targets.map((target) => {
      const all = reads.get(target) ?? [];
      return {
        target,
        bytesPerSecond: medianOf(all.map((one) => one?.bytesPerSecond)),
        submitCpuUsPerMiB: medianOf(all.map((one) => one?.submitCpuUsPerMiB)),
        cpuUsPerMiB: medianOf(all.map((one) => one?.cpuUsPerMiB)),
      };
    }),
  };
  keepResult(values.out, result);
  if (values.json) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const memoryTable = textTable(
    ["memory", "CPU us per MiB"],
    Object.entries(MEMORY).map(([name, label]) => [label, number(result.cpuUsPerMiB[name], 1)]),
  );
  const readTable = textTable(
    ["direct reads of 1 MiB, 4 in flight", "GB/s", "io_submit CPU us per MiB", "all CPU us per MiB"],
    result.reads.map(({ target, bytesPerSecond, submitCpuUsPerMiB, cpuUsPerMiB }) => [
      READS[target],
      number(bytesPerSecond, 2, 1e9),
      number(submitCpuUsPerMiB, 1),
      number(cpuUsPerMiB, 1),
    ]),
  );
  process.stdout.write(`${memoryTable}\n\n${readTable}\n`);
});

function number(value: number | null | undefined, digits: number, unit = 1): string {
  return value === null || value === undefined ? "not here" : (value / unit).toFixed(digits);
}

/** Null when the kernel did not do it in some round. */
function medianOf(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 || known.length < values.length ? null : median(known);
}
