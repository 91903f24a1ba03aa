/**
 * From an error to what the user reads and the exit code that scripts see: the one place where both are decided, by the
 * error's name, because errors of the model's process arrive here as plain data.
 */
import { CommanderError } from "commander";

export const EXIT = { done: 0, failed: 1, usage: 2, modelUnusable: 3, budgetTooSmall: 4, interrupted: 130 } as const;

/** The command line asks for something that makes no sense. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Ctrl-C, or a request of the system to end. What there is to say has been said. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";

  constructor(signal: string) {
    super(`Interrupted by ${signal}.`);
  }
}

/** Whoever read our output has seen enough (`| head`). */
export class OutputClosedError extends Error {
  override readonly name = "OutputClosedError";

  constructor() {
    super("Nobody reads the output any more.");
  }
}

/** Something of this machine is missing without which warmset cannot run; the report says what. */
export class MachineUnfitError extends Error {
  override readonly name = "MachineUnfitError";
}

const CODES: Readonly<Record<string, number>> = {
  UsageError: EXIT.usage,
  ByteSizeError: EXIT.usage,
  CacheBiasError: EXIT.usage,
  UnknownPolicyError: EXIT.usage,
  GrammarError: EXIT.usage,
  LocalityOptionError: EXIT.usage,
  PolicyNotReplayableError: EXIT.usage,
  PolicySwitchError: EXIT.usage,
  RecordingInputError: EXIT.usage,
  WorkloadError: EXIT.usage,
  AdapterError: EXIT.modelUnusable,
  AdapterLoadError: EXIT.modelUnusable,
  GgufError: EXIT.modelUnusable,
  UnsupportedModelError: EXIT.modelUnusable,
  ModelLoadError: EXIT.modelUnusable,
  ModelChangedError: EXIT.modelUnusable,
  RouterDecisionError: EXIT.modelUnusable,
  RouterNotSeenError: EXIT.modelUnusable,
  RoutingNotSeenError: EXIT.modelUnusable,
  LogitsNotFiniteError: EXIT.modelUnusable,
  ChatTemplateError: EXIT.modelUnusable,
  BudgetTooSmallError: EXIT.budgetTooSmall,
  LayerExceedsBudgetError: EXIT.budgetTooSmall,
  CacheTooSmallError: EXIT.budgetTooSmall,
  InterruptedError: EXIT.interrupted,
  OutputClosedError: EXIT.done,
};

/** Errors with a message for the user, which end with `EXIT.failed`. All others are our own mistakes. */
const EXPLAINED: ReadonlySet<string> = new Set([
  "CalibrationError",
  "ContextCreateError",
  "ContextFullError",
  "DecodeError",
  "ExpertReadError",
  "FigureWriteError",
  "FlashError",
  "HeldOutTextTooShortError",
  "LearnedStateError",
  "LibraryMissingError",
  "LibraryVersionError",
  "MachineUnfitError",
  "ModelMismatchError",
  "ModelProcessError",
  "NothingToAnalyzeError",
  "PngError",
  "MapSearchError",
  "MapStoreFileError",
  "MissingPackageError",
  "PredictorError",
  "ProbeFailedError",
  "ProfileError",
  "StockDecodeError",
  "StructLayoutError",
  "SystemCallError",
  "TensorGraphError",
  "TooFewRequestsError",
  "TooManyDomainsError",
  "TraceError",
  "TuneError",
  "UnevenChoiceError",
  "UnsupportedPlatformError",
]);

export interface Failure {
  readonly exitCode: number;
  /** For stderr; undefined when there is nothing (more) to say. */
  readonly text: string | undefined;
}

export function describeFailure(error: unknown, options: { readonly verbose: boolean }): Failure {
  // commander has printed its message (or the help that was asked for) itself.
  if (error instanceof CommanderError)
    return { exitCode: error.exitCode === 0 ? EXIT.done : EXIT.usage, text: undefined };
  if (!(error instanceof Error)) return { exitCode: EXIT.failed, text: `error: ${String(error)}` };
  if (error instanceof InterruptedError || error instanceof OutputClosedError)
    return { exitCode: CODES[error.name] as number, text: undefined };
  const code = Object.hasOwn(CODES, error.name) ? CODES[error.name] : undefined;
  const explained = code !== undefined || EXPLAINED.has(error.name) || isSystemError(error);
  const lines = [`error: ${error.message}`];
  if (!explained)
    lines.push("This looks like a mistake in warmset. Please report it with the output of: warmset doctor");
  if (options.verbose || !explained) lines.push(error.stack ?? error.name);
  return { exitCode: code ?? EXIT.failed, text: lines.join("\n") };
}

/** Errors of Node's file system calls say what was done to which file. */
function isSystemError(error: Error): boolean {
  return typeof (error as NodeJS.ErrnoException).syscall === "string";
}
