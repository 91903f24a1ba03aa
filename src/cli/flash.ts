/** `warmset flash`: the flash cache for tiny objects on its own. Each subcommand is in a file of its own. */
import type { Command } from "commander";
import { addFlashBenchCommand } from "./flash-bench.ts";

export function addFlashCommand(program: Command): void {
  const flash = program.command("flash").description("the flash cache for tiny objects, measured on its own");
  addFlashBenchCommand(flash);
}
