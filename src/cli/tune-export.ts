/**
 * `warmset tune export IN OUT`: tuned routers from one form to another, as a LoRA adapter for llama.cpp, as whole matrices, or
 * into the model's own file.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ExportForm, ExportSummary } from "../adapter/index.ts";
import type { AdapterProbe } from "../llama/adapter-probe.ts";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatShare } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath } from "./model-options.ts";
import { wholeNumber } from "./option-values.ts";
import { StatusLine } from "./status-line.ts";

interface ExportSettings extends Settings {
  readonly scale?: number;
  readonly rank?: number;
  readonly inPlace?: boolean;
  readonly reverse?: string;
  readonly probe?: boolean;
}

const LAYERS = {
  amount: (layers: number) => `${layers} layers`,
  rate: (perSecond: number) => `${perSecond.toFixed(1)} layers/s`,
};

export function addTuneExportCommand(tune: Command): void {
  const command = tune
    .command("export <IN> <OUT>")
    .description("convert tuned routers: OUT.gguf is a LoRA adapter, OUT.safetensors whole matrices")
    .addHelpText(
      "after",
      `
IN is either of them, or a model whose routers were tuned. With --in-place OUT is the model itself: its routers are
overwritten, and a reverse patch is kept that takes them out again (as IN, with --in-place).`,
    );
  command.addOption(new Option("-m, --model <file>", "the model that the routers were tuned for"));
  command.addOption(
    new Option("--scale <number>", "how far to go from the model's own routers (0) to the tuned ones (1)")
      .argParser(scale)
      .default(1),
  );
  command.addOption(
    new Option("--rank <count>", "of an adapter, at most (default: what an exact one needs)").argParser(wholeNumber(1)),
  );
  command.option("--in-place", "overwrite the routers of the model OUT");
  command.option("--reverse <file>", "with --in-place: the reverse patch (default: OUT.reverse.safetensors)");
  command.option("--probe", "let llama.cpp load the model with the adapter, and say which routers it changes");
  addOptions(command, ["json", "quiet", "verbose"]);
  command.action((input: string, output: string) => run(input, output, settingsOf(command)));
}

async function run(input: string, output: string, settings: ExportSettings): Promise<void> {
  const { rank, reverse, probe = false, quiet = false } = settings;
  const form = exportForm(output, settings);
  const model = form === "in-place" ? modelPath(output, {}) : modelPath(settings.model, {});
  const { exportRouter } = await import("../adapter/index.ts");
  using stop = stopSignal();
  using status = new StatusLine({ quiet });
  const summary = await exportRouter({
    ...{ input, form, model, output: form === "in-place" ? model : output },
    ...(settings.scale === undefined ? {} : { scale: settings.scale }),
    ...(rank === undefined ? {} : { rank }),
    ...(reverse === undefined ? {} : { reversePath: reverse }),
    signal: stop.signal,
    onProgress: (done, total) => status.progress("factoring", done, total, LAYERS),
  });
  status.clear();
  const probed = probe ? (await import("../llama/adapter-probe.ts")).probeAdapter(model, output) : undefined;
  const document = { input, output, model, scale: settings.scale ?? 1, ...summary, probe: probed };
  process.stdout.write(
    settings.json ? `${JSON.stringify(document, nullForUndefined)}\n` : `${text(output, summary)}\n`,
  );
  if (probed !== undefined && !settings.json) process.stdout.write(`${probeText(probed)}\n`);
}

/** @throws UsageError for options that say nothing of this form */
function exportForm(output: string, { inPlace, reverse, rank, model, probe }: ExportSettings): ExportForm {
  if (inPlace) {
    if (rank !== undefined)
      throw new UsageError("--rank is for adapters; a patched model has the routers as they are.");
    if (probe) throw new UsageError("--probe is for adapters; a patched model needs none.");
    if (model !== undefined && model !== output)
      throw new UsageError(`With --in-place the model is OUT: ${output}. Leave --model away.`);
    return "in-place";
  }
  if (reverse !== undefined) throw new UsageError("--reverse is for --in-place.");
  if (output.endsWith(".gguf")) return "lora";
  if (rank !== undefined || probe)
    throw new UsageError("--rank and --probe are for adapters: name OUT something.gguf.");
  if (output.endsWith(".safetensors")) return "safetensors";
  throw new UsageError(`${output}: name it .gguf for an adapter or .safetensors for whole matrices.`);
}

function text(output: string, summary: ExportSummary): string {
  const { form, method, architecture, layers, experts, rank, relativeError, relativeChange, before } = summary;
  const what = {
    lora: `LoRA adapter of rank ${rank}, exact up to rounding`,
    safetensors: "whole matrices",
    "in-place": before === "new" ? "was patched already; nothing was written" : "patched in place",
    reversed: before === "new" ? "has its own routers already; nothing was written" : "its own routers are back",
  }[form];
  const truncated = relativeError !== undefined && relativeError > 0;
  const rows = [
    ["form", truncated ? `LoRA adapter of rank ${rank}; ${formatShare(relativeError)} of the change is lost` : what],
    ["routers", `${layers} layers of ${experts} experts (${architecture})`],
    ...(method === "" ? [] : [["method", method]]),
    ...(relativeChange === undefined ? [] : [["change", `up to ${formatShare(relativeChange)} of a router's norm`]]),
    ...(before === "between"
      ? [["before", `a patch that was interrupted${form === "in-place" ? "; it is complete now" : ""}`]]
      : []),
    ...(form === "in-place" ? [["reverse", summary.reversePath ?? ""]] : []),
  ];
  return `${output}\n${alignColumns(rows)}`;
}

function probeText({ architecture, routers, changesOutput }: AdapterProbe): string {
  const applied = routers.filter((router) => router.applied);
  if (applied.length === 0)
    return `probe: llama.cpp does NOT apply the adapter to the routers of ${architecture}. Use --router, or patch the model.`;
  const most = Math.max(...applied.map(({ largestChange }) => largestChange));
  const effect = changesOutput ? "" : ", but the output stayed the same";
  return `probe: llama.cpp applies it to ${applied.length} of ${routers.length} routers; logits change by up to ${most.toPrecision(3)}${effect}.`;
}

function nullForUndefined(_key: string, value: unknown): unknown {
  return value === undefined ? null : value;
}

function scale(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !(number >= 0 && Number.isFinite(number)))
    throw new InvalidArgumentError("It must be a number from 0 on.");
  return number;
}
