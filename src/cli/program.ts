/** The commands put together, and what becomes of their errors. Each command is in a file of its own. */
import { Command } from "commander";
import { warmsetVersion } from "../bench/machine.ts";
import { addBenchCommand } from "./bench.ts";
import { addCalibrateCommand } from "./calibrate.ts";
import { addChatCommand } from "./chat.ts";
import { normalizeArguments } from "./config.ts";
import { addDoctorCommand } from "./doctor.ts";
import { describeFailure, EXIT } from "./failure.ts";
import { addFlashCommand } from "./flash.ts";
import { addInspectCommand } from "./inspect.ts";
import { addLocalityCommand } from "./locality.ts";
import { addMapsCommand } from "./maps.ts";
import { addPlanCommand } from "./plan.ts";
import { addRunCommand } from "./run.ts";
import { addSimulateCommand } from "./simulate.ts";
import { addTraceCommand } from "./trace.ts";
import { addTrainPredictorCommand } from "./train-predictor.ts";
import { addTuneCommand } from "./tune.ts";

const EPILOGUE = `
MODEL is a GGUF file (any part of a split one), or the word demo for the small model that comes with warmset.
Every option can also be set in the environment: --ctx-size as WARMSET_CTX_SIZE, and so on.
Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 model unusable, 4 memory budget too small, 130 interrupted.

Try it: warmset run demo --expert-memory 50% -p "Tell me a story about a fox."`;

/** Runs one command line and returns its exit code. Never throws. */
export async function runProgram(args: readonly string[]): Promise<number> {
  const program = new Command("warmset")
    .description("Run Mixture-of-Experts models that are larger than memory.")
    .version(warmsetVersion(), "-V, --version")
    .showHelpAfterError("(add --help for help)")
    // What stands behind a command's name is read by that command: `trace` and its subcommands share names of options.
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText("after", EPILOGUE);
  addRunCommand(program);
  addChatCommand(program);
  addInspectCommand(program);
  addPlanCommand(program);
  addDoctorCommand(program);
  addBenchCommand(program);
  addSimulateCommand(program);
  addCalibrateCommand(program);
  addTraceCommand(program);
  addLocalityCommand(program);
  addTrainPredictorCommand(program);
  addMapsCommand(program);
  addTuneCommand(program);
  addFlashCommand(program);
  if (args.length === 0) {
    program.outputHelp();
    return EXIT.done;
  }
  try {
    await program.parseAsync(normalizeArguments(args), { from: "user" });
    return EXIT.done;
  } catch (error) {
    const failure = describeFailure(error, { verbose: args.includes("--verbose") || args.includes("-v") });
    if (failure.text !== undefined) process.stderr.write(`${failure.text}\n`);
    return failure.exitCode;
  }
}
