/**
 * `warmset bench`: warmset and stock llama.cpp side by side on any model, under the same memory limits. The measuring is
 * done in `src/bench`; `npm run bench:memory` is the standard run of the repository.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import type { HeldOutText } from "../bench/held-out.ts";
import { parseByteSize } from "../engine/byte-size.ts";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { openGguf } from "../gguf/index.ts";
import { policyByName } from "../policy/by-name.ts";
import { addFinemoeOptions, benchFinemoe, type FinemoeSettings } from "./bench-finemoe.ts";
import { addOptions, refuseOptions, type Settings, settingsOf } from "./config.ts";
import { UsageError } from "./failure.ts";
import { stopSignal } from "./interruption.ts";
import { modelPath, refuseUnusedFiles, routerOption } from "./model-options.ts";

const DEFAULT_LIMITS = "50%,33%,20%";
/** Options that the other suite would ignore. */
const OF_MEMORY = [
  ...(["memory", "tokens", "warmup", "text", "complete", "repack"] as const),
  ...(["predictor", "router", "routerScale"] as const),
];
const SHIPPED_TEXTS = fileURLToPath(new URL("../../models/text", import.meta.url));

export function addBenchCommand(program: Command): void {
  const command = program
    .command("bench [MODEL]")
    .description("compare with stock llama.cpp on the same tokens, under the same memory limits");
  command.option("--memory <sizes>", `limits, comma-separated: 6GiB, 50% (default: ${DEFAULT_LIMITS})`);
  addOptions(command, ["policies", "runs", "threads", "out"]);
  addOptions(
    command,
    OF_MEMORY.filter((name) => name !== "memory"),
  );
  command.addOption(
    new Option("--suite <name>", "what is compared: memory (with llama.cpp), or finemoe (policies with each other)")
      .choices(["memory", "finemoe"])
      .default("memory"),
  );
  const before = command.options.length;
  addFinemoeOptions(command);
  addOptions(command, ["calibrate", "profile", "disk", "workers", "html"]);
  const ofFinemoe = command.options.slice(before).map((option) => option.attributeName());
  addOptions(command, ["model", "json", "quiet", "verbose"]);
  command.action((argument: string | undefined) => {
    const settings = settingsOf(command) as FinemoeSettings & { readonly suite: string };
    if (settings.suite === "finemoe") {
      refuseOptions(command, OF_MEMORY, "is of the suite memory: leave it out, or --suite finemoe.");
      return benchFinemoe(argument, settings);
    }
    refuseOptions(command, ofFinemoe, "is of the suite finemoe: give --suite finemoe, or leave it out.");
    refuseUnusedFiles(command, settings.policies ?? [DEFAULT_POLICY]);
    return bench(argument, settings);
  });
}

async function bench(argument: string | undefined, settings: Settings): Promise<void> {
  const file = modelPath(argument, settings);
  const policies = settings.policies ?? [DEFAULT_POLICY];
  for (const name of policies) policyByName(name);
  const { fileBytes, shards } = openGguf(file);
  if (shards.length > 1)
    throw new UsageError("The bench takes models of one file; join the parts with llama.cpp's gguf-split --merge.");
  const memoryFractions = (settings.memory ?? DEFAULT_LIMITS)
    .split(",")
    .map((text) => parseByteSize(text, fileBytes) / fileBytes);
  const decodeTokens = settings.tokens ?? 256;
  const warmupTokens = settings.warmup ?? Math.floor(decodeTokens / 4);
  if (warmupTokens >= decodeTokens)
    throw new UsageError("--warmup must be less than --tokens: no token would be counted.");
  // The native libraries are loaded for this command only.
  const [{ runSuite }, { planSuite }, { renderTable }, { readHeldOutTexts }] = await Promise.all([
    import("../bench/run-suite.ts"),
    import("../bench/suite-plan.ts"),
    import("../bench/readme-table.ts"),
    import("../bench/held-out.ts"),
  ]);
  using stop = stopSignal();
  const result = await runSuite({
    modelPath: file,
    texts: settings.text === undefined ? readHeldOutTexts([SHIPPED_TEXTS]) : settings.text.map(heldOutText),
    cells: planSuite({ memoryFractions, policies, decodeTokens, warmupTokens, complete: settings.complete ?? false }),
    targetPolicy: policies[0],
    repetitions: settings.runs ?? 3,
    stockRepack: settings.repack ?? true,
    predictorFile: settings.predictor,
    router: routerOption(settings),
    ...(settings.threads === undefined ? {} : { threads: settings.threads }),
    onProgress: (message) => {
      if (!settings.quiet) process.stderr.write(`${message}\n`);
    },
    signal: stop.signal,
  });
  if (settings.out !== undefined) writeFileSync(settings.out, `${JSON.stringify(result, null, 2)}\n`);
  process.stdout.write(`${settings.json ? JSON.stringify(result) : renderTable(result)}\n`);
}

function heldOutText(file: string): HeldOutText {
  try {
    return { domain: path.basename(file).replace(/\.[^.]*$/, ""), text: readFileSync(file, "utf8") };
  } catch (error) {
    throw new UsageError(`--text ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
