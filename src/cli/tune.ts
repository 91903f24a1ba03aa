/** `warmset tune`: what makes, moves and judges tuned routers. Each subcommand is in a file of its own. */
import type { Command } from "commander";
import { addTuneExportCommand } from "./tune-export.ts";

export function addTuneCommand(program: Command): void {
  const tune = program
    .command("tune")
    .description("tune a model's routers so that neighbouring tokens share experts (not this machine: see calibrate)");
  addTuneExportCommand(tune);
}
