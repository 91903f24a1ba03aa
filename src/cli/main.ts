#!/usr/bin/env node
/** The `warmset` command: hands its arguments to the program and leaves with the exit code that comes back. */
import { endQuietlyOnClosedPipes } from "./interruption.ts";
import { runProgram } from "./program.ts";

endQuietlyOnClosedPipes();
// Not process.exit: what was written to a pipe must still get out.
process.exitCode = await runProgram(process.argv.slice(2));
