/**
 * `npm run bench:maps`: searches of expert maps. Time of a search per layer by rows and encoding, what a searching thread costs
 * the model's thread, what storing costs, and, with a trace that has probabilities, what the compact encodings change.
 */
import { parseArgs } from "node:util";
import { MAP_ENCODINGS } from "../maps/index.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { describeMachine } from "./machine.ts";
import { type EncodingAccuracy, measureAccuracy, recordedMaps } from "./map-search-accuracy.ts";
import {
  filledStore,
  measureSearch,
  measureThread,
  measureUpdate,
  type SearchSpeed,
  type ThreadSpeed,
} from "./map-search-speed.ts";

const HELP = `Usage: npm run bench:maps -- [options]

  --rows A,B        stored maps (default: 1000,4000,16000,32000,64000)
  --layers N        (default: 24, as Qwen1.5-MoE has)
  --experts N       (default: 60)
  --tokens N        measured tokens of each row of the table (default: 20)
  --trace DIR       recorded with probabilities: accuracy of the encodings on its maps (default: not measured)
  --stored N        maps of the trace that are stored (default: 1000)
  --searched N      maps after them that are searched for (default: 500)
  --out FILE        where the result is kept (default: bench/results/maps.json)
  --json            print the result as JSON
`;
/** The two smallest stores need no abandonment. */
const ABANDON_FROM_ROWS = 8000;
const ABANDON = { layers: 4, rows: 1024 };
/** Of a token of 50 ms over 24 layers. */
const BETWEEN_ROUTERS_MS = 2;
const UPDATES = 9;

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: "1000,4000,16000,32000,64000" },
      layers: { type: "string", default: "24" },
      experts: { type: "string", default: "60" },
      tokens: { type: "string", default: "20" },
      trace: { type: "string" },
      stored: { type: "string", default: "1000" },
      searched: { type: "string", default: "500" },
      out: { type: "string", default: resultFile("maps") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const shape = {
    layers: wholeNumber("--layers", values.layers, 1),
    experts: wholeNumber("--experts", values.experts, 1),
  };
  const tokens = wholeNumber("--tokens", values.tokens, 1);
  const searches: SearchSpeed[] = [];
  const threads: ThreadSpeed[] = [];
  const updates: { readonly rows: number; readonly us: number }[] = [];
  for (const rows of values.rows.split(",").map((text) => wholeNumber("--rows", text, 1)))
    for (const encoding of MAP_ENCODINGS) {
      signal.throwIfAborted();
      progress(`${rows} maps as ${encoding}`);
      const store = filledStore(shape, rows, encoding);
      searches.push(measureSearch(store, tokens));
      if (rows >= ABANDON_FROM_ROWS) searches.push(measureSearch(store, tokens, ABANDON));
      if (encoding !== "f32") continue;
      threads.push(measureThread(store, tokens, BETWEEN_ROUTERS_MS));
      updates.push({ rows, us: measureUpdate(store, UPDATES) });
    }

  const accuracy =
    values.trace === undefined
      ? []
      : await accuracyOn(
          values.trace,
          wholeNumber("--stored", values.stored, 1),
          wholeNumber("--searched", values.searched, 1),
        );
  const result = {
    kind: "maps",
    date: new Date().toISOString(),
    machine: describeMachine(),
    ...shape,
    tokens,
    searches,
    threads,
    updates,
    accuracy,
  };
  keepResult(values.out, result);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${tables(result)}\n`);
});

async function accuracyOn(directory: string, stored: number, searched: number): Promise<EncodingAccuracy[]> {
  const trace = await openTrace(directory);
  const { moeBlocks, experts } = trace.description.model;
  const maps = await recordedMaps(trace, stored + searched);
  if (maps.length <= stored) throw new RangeError(`${directory} has ${maps.length} maps; give a lower --stored`);
  progress(`accuracy on ${maps.length} maps`);
  return measureAccuracy({ layers: moeBlocks.length, experts }, maps, stored, {
    layers: ABANDON.layers,
    rows: Math.ceil(stored / 16),
  });
}

function tables(result: {
  readonly searches: readonly SearchSpeed[];
  readonly threads: readonly ThreadSpeed[];
  readonly updates: readonly { readonly rows: number; readonly us: number }[];
  readonly accuracy: readonly EncodingAccuracy[];
}): string {
  const followed = (abandon: SearchSpeed["abandon"]) =>
    abandon === undefined ? "all" : `${abandon.rows} after ${abandon.layers} layers`;
  const parts = [
    textTable(
      ["maps", "encoding", "followed", "p50, us/layer", "p99, us/layer", "ms/token", "store, MiB"],
      result.searches.map((row) => [
        String(row.rows),
        row.encoding,
        followed(row.abandon),
        row.p50Us.toFixed(1),
        row.p99Us.toFixed(1),
        (row.tokenUs / 1000).toFixed(2),
        (row.storeBytes / 2 ** 20).toFixed(1),
      ]),
    ),
    textTable(
      ["maps, in a thread", "p50, us/layer", "p99, us/layer", "in time"],
      result.threads.map((row) => [
        String(row.rows),
        row.p50Us.toFixed(1),
        row.p99Us.toFixed(1),
        `${((100 * row.taken) / row.planned).toFixed(0)} %`,
      ]),
    ),
    textTable(
      ["maps, full", "storing one, ms"],
      result.updates.map((row) => [String(row.rows), (row.us / 1000).toFixed(2)]),
    ),
  ];
  if (result.accuracy.length > 0)
    parts.push(
      textTable(
        ["encoding", "followed", "largest error", "same map found", "score lost"],
        result.accuracy.map((row) => [
          row.encoding,
          followed(row.abandon),
          row.maxError.toExponential(1),
          `${(100 * row.sameMatch).toFixed(2)} %`,
          row.scoreLoss.toExponential(1),
        ]),
      ),
    );
  return parts.join("\n\n");
}
