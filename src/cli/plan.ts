/**
 * `warmset plan`: what each part of a budget goes to, and what is to be expected of the reads. The model is mapped and
 * its context made, so the figures are those of a real run, but no weights are read.
 */
import path from "node:path";
import type { Command } from "commander";
import type { MemoryPlan } from "../engine/memory-plan.ts";
import { ModelError, type ModelInfo } from "../engine/protocol.ts";
import { addOptions, MODEL_OPTIONS, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { alignColumns, formatBytes, formatMs, formatRate, formatShare } from "./format.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath } from "./model-options.ts";
import { openWithStatus } from "./open-with-status.ts";
import { estimateReads, type ReadEstimate, type TokenReads } from "./read-estimate.ts";
import { StatusLine } from "./status-line.ts";

export function addPlanCommand(program: Command): void {
  const command = program
    .command("plan [MODEL]")
    .description("show where a memory budget goes, the smallest that works, and the expected bottleneck");
  addOptions(command, [...MODEL_OPTIONS, "disk", "model", "json", "quiet", "verbose"]);
  command.action((argument: string | undefined) => plan(argument, settingsOf(command)));
}

async function plan(argument: string | undefined, settings: Settings): Promise<void> {
  const file = modelPath(argument, settings);
  const given = settings.disk === undefined ? undefined : givenDisk(settings.disk);
  using stop = stopSignal();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  let info: ModelInfo;
  try {
    const { model } = await openWithStatus(file, { ...settings, quiet: true }, status, {
      signal: stop.signal,
      planOnly: true,
    });
    await model.close();
    info = model.info;
  } catch (error) {
    if (settings.json && error instanceof ModelError && error.name === "BudgetTooSmallError")
      process.stdout.write(`${JSON.stringify(refusal(file, error))}\n`);
    throw error;
  }
  const disk = given ?? (info.plan.fits ? undefined : await probedDisk(file));
  const estimate = estimateReads(info.plan, disk);
  const document = { ...planDocument(info), estimate };
  process.stdout.write(`${settings.json ? JSON.stringify(document) : planText(info, estimate)}\n`);
}

function planDocument({
  path: model,
  plan,
  policy,
  contextSize,
  microBatchTokens,
  threads,
  resident,
  notes,
}: ModelInfo) {
  return {
    model,
    /** A run with this budget starts; false comes with exit code 4. */
    possible: true,
    ...plan,
    budgetBytes: plan.budgetBytes ?? null,
    largestMicroBatch: Number.isFinite(plan.largestMicroBatch) ? plan.largestMicroBatch : null,
    resident,
    policy,
    contextSize,
    microBatchTokens,
    threads,
    notes,
  };
}

function refusal(model: string, error: ModelError) {
  const { budgetBytes, smallestBudgetBytes } = error.data;
  return { model, possible: false, fits: false, budgetBytes, smallestBudgetBytes, notes: [error.message] };
}

/** GB/s, as drives are sold. */
function givenDisk(text: string): { bytesPerSecond: number; source: "given" } {
  const gigabytes = Number(text);
  if (!(gigabytes > 0) || !Number.isFinite(gigabytes))
    throw new UsageError(`--disk ${text}: give the drive's speed in GB/s, such as 1.5.`);
  return { bytesPerSecond: gigabytes * 1e9, source: "given" };
}

async function probedDisk(file: string): Promise<{ bytesPerSecond: number; source: "probed" } | undefined> {
  const { quickProbe } = await import("./disk-probe.ts");
  const probe = quickProbe(file);
  return probe.status === "measured" ? { bytesPerSecond: probe.result.bytesPerSecond, source: "probed" } : undefined;
}

function planText(info: ModelInfo, estimate: ReadEstimate): string {
  const { plan } = info;
  const head = `${path.basename(info.path)}, context ${info.contextSize} tokens, policy ${info.policy}`;
  return [
    head,
    alignColumns(parts(plan)),
    "",
    ...conclusions(info, estimate),
    ...info.notes.map((note) => `note: ${note}`),
  ].join("\n");
}

function parts(plan: MemoryPlan): string[][] {
  const { budgetBytes, expertBudgetBytes, expertBytesTotal, fits } = plan;
  const limited = budgetBytes !== undefined && budgetBytes !== Number.MAX_SAFE_INTEGER;
  const used =
    plan.processBytes + plan.denseBytes + plan.kvBytes + plan.computeBytes + plan.marginBytes + expertBudgetBytes;
  const share = fits
    ? "all of them"
    : `${formatShare(expertBudgetBytes / expertBytesTotal)} of ${formatBytes(expertBytesTotal)}`;
  const rest = limited ? budgetBytes - used : 0;
  return [
    ["processes", formatBytes(plan.processBytes), "Node and llama.cpp without a model, as measured now"],
    ["dense weights", formatBytes(plan.denseBytes), "every token needs them"],
    ["KV cache", formatBytes(plan.kvBytes), "keys and values of the context"],
    ["compute", formatBytes(plan.computeBytes), "llama.cpp's buffers"],
    ["margin", formatBytes(plan.marginBytes), "growth of the processes"],
    ...(fits ? [] : [["page edges", formatBytes(plan.sharedEdgeBytes), "pages that experts fill only in part"]]),
    ["experts", formatBytes(expertBudgetBytes), share],
    ...(fits && limited && rest > 0 ? [["left over", formatBytes(rest), "is not used"]] : []),
    ["budget", limited ? formatBytes(budgetBytes) : "-", budgetNote(plan, limited)],
  ];
}

function budgetNote(plan: MemoryPlan, limited: boolean): string {
  if (limited) return "what everything together may use";
  return plan.budgetBytes === undefined ? "only the experts' part was given" : "no limit";
}

function conclusions({ plan, microBatchTokens }: ModelInfo, estimate: ReadEstimate): string[] {
  const smallest = `The smallest budget that works is ${formatBytes(plan.smallestBudgetBytes)} (--memory), one token at a time.`;
  if (plan.fits)
    return ["Everything fits: all weights are read once, then nothing; computing is the bottleneck.", smallest];
  const source = { given: "as given", probed: "just measured", unknown: "" }[estimate.diskSource];
  const speed = estimate.diskBytesPerSecond;
  const drive = speed === null ? "The drive's speed is unknown (--disk)." : `Drive: ${formatRate(speed)}, ${source}.`;
  return [
    `A token uses ${formatBytes(plan.tokenCycleBytes)} of experts. Prompts are computed ${microBatchTokens} tokens at once.`,
    `Expected bottleneck: reading experts. ${drive} Estimates:`,
    alignColumns([
      ["every expert read", ...readCells(estimate.worstCase), "the worst case"],
      ["hits as by chance", ...readCells(estimate.withoutLocality), "routing usually does better"],
    ]),
    smallest,
  ];
}

function readCells({ bytesPerToken, msPerToken }: TokenReads): string[] {
  return [`${formatBytes(bytesPerToken)} per token`, msPerToken === null ? "" : `${formatMs(msPerToken)} of reading`];
}
