/**
 * `npm run bench:tune-reach`: routers of a model that is larger than memory, tuned by the command line in a memory cgroup of the
 * budget's size, command and processes together; and whether that gives what the same text gives on the small model
 * that the large one was inflated from.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { parseByteSize } from "../engine/byte-size.ts";
import { formatBytes } from "../number-text.ts";
import { DEMO_MODEL } from "./bench-model.ts";
import { keepResult, progress, resultFile, runBenchProgram, textTable, wholeNumber } from "./bench-program.ts";
import { inflatedModel } from "./inflate.ts";
import type { InflationTarget } from "./inflate-plan.ts";
import { describeMachine, warmsetVersion } from "./machine.ts";
import { createMemoryCgroup } from "./memory-cgroup.ts";
import { dropPageCache } from "./page-cache.ts";
import type { TreeFigures } from "./process-tree.ts";
import { compareGates, type GateAgreement } from "./same-gates.ts";
import { tuneCommand } from "./tune-command.ts";

const HELP = `Usage: npm run bench:tune-reach -- [options]

  --shapes LIST    widths and inner widths of the inflated models (default: 1024x3072, 2.6 GB; 4096x704 is as large)
  --methods LIST   (default: closed-form,local)
  --memory SIZE    of command and processes together, held by a cgroup (default: 1GiB)
  --samples N      documents of each of the texts that ship (default: 4)
  --length N       tokens of a document (default: 256)
  --batch N        tokens of a batch (default: three documents); the same for both models, because bits depend on it
  --sweeps N       (default: 1)
  --steps N        of local, a layer (default: 60)
  --budget NATS    (default: 0.05)
  --out FILE       where the figures are kept (default: bench/results/tune-reach.json)
  --json           print the figures as JSON
`;

const TEXTS = ["math", "javascript", "prose", "python"];
/** Of the small model: it streams too, so that its batches are put together in the same way. */
const SMALL_EXPERTS = "50%";

/** What is used of the document that `tune --json` prints. */
interface TunedDocument {
  readonly tokens: number;
  readonly documents: number;
  readonly heldOutDocuments: number;
  readonly seconds: number;
  readonly layersTuned: number;
  readonly layers: readonly { readonly trustKl: number; readonly eor: number; readonly baseEor: number }[];
  readonly before: SideDocument | null;
  readonly after: (SideDocument & { readonly meanKl: number; readonly top1Agreement: number }) | null;
  readonly notes: readonly string[];
}

interface SideDocument {
  readonly eor: number;
  readonly perplexity: number;
}

interface Row {
  readonly method: string;
  readonly width: number;
  readonly innerWidth: number;
  readonly modelBytes: number;
  readonly memoryBytes: number;
  readonly memoryLimit: string;
  readonly command: string;
  readonly tokens: number;
  readonly heldOutDocuments: number;
  readonly seconds: number;
  readonly peak: TreeFigures & { readonly cgroupPeakBytes: number | null };
  readonly layersTuned: number;
  readonly trustKl: number;
  readonly before: TunedDocument["before"];
  readonly after: TunedDocument["after"];
  readonly small: Pick<TunedDocument, "before" | "after" | "seconds">;
  readonly gates: GateAgreement;
  readonly notes: readonly string[];
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      shapes: { type: "string", default: "1024x3072" },
      methods: { type: "string", default: "closed-form,local" },
      memory: { type: "string", default: "1GiB" },
      samples: { type: "string", default: "4" },
      length: { type: "string", default: "256" },
      batch: { type: "string" },
      sweeps: { type: "string", default: "1" },
      steps: { type: "string", default: "60" },
      budget: { type: "string", default: "0.05" },
      out: { type: "string", default: resultFile("tune-reach") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const memoryBytes = parseByteSize(values.memory, os.totalmem());
  const length = wholeNumber("--length", values.length, 32);
  const batch = values.batch === undefined ? 3 * length : wholeNumber("--batch", values.batch, 1);
  const folder = path.dirname(DEMO_MODEL);
  const texts = TEXTS.map((name) => path.join(folder, "text", `${name}.txt`));
  const settings = (method: string) => [
    ...["--method", method, "--text", ...texts, "--sample-length", `${length}`, "--samples", values.samples],
    ...["--ubatch-size", `${batch}`, "--sweeps", values.sweeps, "--budget", values.budget],
    ...(method === "local" ? ["--steps", values.steps] : []),
  ];
  const rows: Row[] = [];
  const shapes = values.shapes.split(",").map(shapeOf);
  const methods = values.methods.split(",");
  const result = () => ({
    kind: "tune-reach",
    date: new Date().toISOString(),
    warmset: warmsetVersion(),
    machine: describeMachine(),
    complete: rows.length === shapes.length * methods.length,
    rows,
  });
  const scratch = mkdtempSync(path.join(os.tmpdir(), "tune-reach-"));
  try {
    for (const method of methods) {
      const small = { model: DEMO_MODEL, routers: path.join(scratch, `small-${method}.safetensors`) };
      progress(`${method}, the small model`);
      const own = await tuneCommand<TunedDocument>(
        [small.model, "--expert-memory", SMALL_EXPERTS, ...settings(method)],
        small.routers,
        {
          signal,
        },
      );
      for (const target of shapes) {
        const inflated = {
          model: await inflatedModel(DEMO_MODEL, { target, signal }),
          routers: path.join(scratch, `inflated-${method}.safetensors`),
        };
        const modelBytes = statSync(inflated.model).size;
        progress(`${method}, width ${target.width}, ${formatBytes(modelBytes)} within ${formatBytes(memoryBytes)}`);
        dropPageCache(inflated.model);
        const made = createMemoryCgroup(memoryBytes);
        using cgroup = made.made ? made.cgroup : undefined;
        const args = [inflated.model, "--memory", values.memory, ...settings(method)];
        const run = await tuneCommand<TunedDocument>(args, inflated.routers, { signal, cgroup });
        const { document } = run;
        rows.push({
          ...{ method, width: target.width, innerWidth: target.innerWidth, modelBytes, memoryBytes },
          memoryLimit: made.made ? `cgroup v${made.cgroup.version}` : `only warmset's own budget (${made.reason})`,
          command: ["warmset tune", ...args.map((arg) => path.basename(arg))].join(" "),
          ...{ tokens: document.tokens, heldOutDocuments: document.heldOutDocuments, seconds: run.seconds },
          peak: { ...run.tree, cgroupPeakBytes: run.cgroupPeakBytes },
          layersTuned: document.layersTuned,
          trustKl: document.layers.reduce((sum, { trustKl }) => sum + trustKl, 0) / document.layers.length,
          ...{ before: document.before, after: document.after },
          small: { before: own.document.before, after: own.document.after, seconds: own.seconds },
          gates: compareGates(small, inflated),
          notes: document.notes,
        });
        keepResult(values.out, result());
        progress(`${run.seconds.toFixed(0)} s, ${formatBytes(run.tree.peakResidentBytes)} at most`);
      }
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
  process.stdout.write(values.json ? `${JSON.stringify(result())}\n` : `${table(rows)}\n`);
});

function shapeOf(text: string): InflationTarget {
  const match = /^(\d+)x(\d+)$/.exec(text);
  if (match === null) throw new Error(`--shapes takes WIDTHxINNER, not "${text}"`);
  return { width: Number(match[1]), innerWidth: Number(match[2]) };
}

function table(rows: readonly Row[]): string {
  const percent = (share: number | undefined) => (share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);
  return textTable(
    ["method", "width", "model", "peak, all", "cgroup", "seconds", "read", "overlap", "tuned", "KL", "gates differ by"],
    rows.map(({ method, width, modelBytes, peak, seconds, before, after, gates }) => [
      ...[method, `${width}`, formatBytes(modelBytes), formatBytes(peak.peakResidentBytes)],
      ...[peak.cgroupPeakBytes === null ? "–" : formatBytes(peak.cgroupPeakBytes), seconds.toFixed(0)],
      ...[formatBytes(peak.readBytes), percent(before?.eor), percent(after?.eor), after?.meanKl.toFixed(4) ?? "–"],
      gates.largestDifference.toExponential(1),
    ]),
  );
}
