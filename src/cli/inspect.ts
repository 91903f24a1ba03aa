/** `warmset inspect`: what a model file holds and what that means for memory. Reads headers only. */
import type { Command } from "commander";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { describeModel, modelTable } from "./model-description.ts";
import { modelPath } from "./model-options.ts";

export function addInspectCommand(program: Command): void {
  const command = program.command("inspect [MODEL]").description("show a model's experts, sizes and quantisation");
  addOptions(command, ["model", "json", "verbose"]);
  command.action((argument: string | undefined) => inspect(argument, settingsOf(command)));
}

function inspect(argument: string | undefined, settings: Settings): void {
  const description = describeModel(modelPath(argument, settings));
  process.stdout.write(`${settings.json ? JSON.stringify(description) : modelTable(description)}\n`);
}
