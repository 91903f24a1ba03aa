/** `warmset tune`: what makes, moves and judges tuned routers. Each subcommand is in a file of its own. */
import type { Command } from "commander";
import { addTuneEvalCommand } from "./tune-eval.ts";
import { addTuneExportCommand } from "./tune-export.ts";
import { addTuneRunning } from "./tune-run.ts";

export function addTuneCommand(program: Command): void {
  const tune = program
    .command("tune")
    .description("tune a model's routers so that neighbouring tokens share experts (not this machine: see calibrate)");
  addTuneRunning(tune);
  addTuneEvalCommand(tune);
  addTuneExportCommand(tune);
}
