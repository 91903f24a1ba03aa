/** `warmset trace`: what makes traces and asks them. With a model it records one; its subcommands are in their own files. */
import type { Command } from "commander";
import { addTraceImportCommand } from "./trace-import.ts";
import { addTraceQueryCommand } from "./trace-query.ts";
import { addTraceRecording } from "./trace-record.ts";

export function addTraceCommand(program: Command): void {
  const trace = program
    .command("trace")
    .description("record which experts a model uses, import such a record, or ask one in SQL");
  addTraceRecording(trace);
  addTraceImportCommand(trace);
  addTraceQueryCommand(trace);
}
