/** `warmset maps TRACE --out FILE`: a file of expert maps out of a trace, for the policy finemoe to begin with. */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { saveStore } from "../maps/index.ts";
import { type FilledStore, fillStore } from "../policy/finemoe/fill-store.ts";
import { openTrace } from "../trace/trace-reader.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatBytes } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath, withoutUndefined } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine, TOKENS } from "./status-line.ts";
import { openTracedWeights } from "./traced-weights.ts";

export function addMapsCommand(program: Command): void {
  const command = program
    .command("maps TRACE")
    .description("make expert maps of a trace, for the policy finemoe to begin with")
    .option("--out <file>", "where the maps are written");
  command.addOption(
    new Option("-m, --model <file>", "the traced model, for its embeddings (default: maps know token ids only)"),
  );
  addOptions(command, ["capacity", "encoding", "record"]);
  command.addOption(
    new Option("--distance <layers>", "prefetch distance of the policy that is to use them")
      .argParser(wholeNumber(1))
      .default(6),
  );
  addOptions(command, ["json", "quiet", "verbose"]);
  command.action((directory: string) => run(directory, settingsOf(command)));
}

async function run(directory: string, settings: Settings & { readonly distance?: number }): Promise<void> {
  const { out, capacity, encoding, record, distance, quiet = false } = settings;
  if (out === undefined) throw new UsageError("Say where the maps are written with --out FILE.");
  const source = await openTrace(directory);
  const { description } = source;
  using weights = await openTracedWeights(settings.model && modelPath(settings.model, {}), description, [EMBEDDINGS]);
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  const filled = await fillStore(source, {
    ...withoutUndefined({ capacity, encoding, record, distance }),
    embeddings: weights.embeddings,
    signal: stop.signal,
    onProgress: (done, total) => status.progress("storing maps", done, total, TOKENS),
  });
  saveStore(out, filled.store);
  status.clear();
  const notes = [
    ...(source.unfinished === undefined ? [] : [source.unfinished]),
    ...(description.columns.probs
      ? []
      : [
          "The trace has no router probabilities: maps hold the weights of the chosen experts, and zeros for all others.",
        ]),
  ];
  if (settings.json) process.stdout.write(`${JSON.stringify({ ...documentOf(out, directory, filled), notes })}\n`);
  else process.stdout.write(`${table(out, filled)}\n`);
  if (!quiet && !settings.json) for (const note of notes) process.stderr.write(`note: ${note}\n`);
}

/** The bytes of such a file; whether they are maps of the right model is found when a policy begins. @throws UsageError */
export function readMapsFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`--maps ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What `openTracedWeights` is asked for. */
const EMBEDDINGS = { needs: { embeddings: true, nextGate: false } };

function documentOf(file: string, trace: string, { store, samples, tokens, maps }: FilledStore) {
  const { size, capacity, encoding, replaced, refused, bytes, shape } = store;
  return {
    ...{ file, trace, samples, tokens, mapsRecorded: maps, rows: size, capacity, replaced, refused },
    ...{ encoding, layers: shape.layers, experts: shape.experts, hiddenSize: shape.hiddenSize, bytes },
  };
}

function table(file: string, { store, samples, tokens, maps }: FilledStore): string {
  const { size, capacity, encoding, replaced, refused, bytes, shape } = store;
  const refusals = refused > 0 ? `, ${refused} refused` : "";
  const embeddings = shape.hiddenSize > 0 ? `embeddings of ${shape.hiddenSize}` : "no embeddings, token ids alone";
  return [
    file,
    alignColumns([
      ["trace", `${samples} samples, ${tokens.toLocaleString("en-US")} tokens`],
      ["maps", `${size} of at most ${capacity}; ${maps} recorded, ${replaced} replaced by newer ones${refusals}`],
      ["a map", `${shape.layers} layers x ${shape.experts} experts, ${embeddings}`],
      ["memory", `${formatBytes(bytes)} as ${encoding}, with embeddings`],
    ]),
  ].join("\n");
}
