/**
 * What can go wrong between a model file, a memory budget and a running graph. Each error says what to do next; the
 * command line and the HTTP server map them to exit codes and status codes in one place each.
 */
import { getSystemErrorName } from "node:util";
import type { ReadFailure } from "../memory/read-engine.ts";

/** A part of the model file could not be read while the model ran. */
export class ExpertReadError extends Error {
  override readonly name = "ExpertReadError";
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly errno: number;

  constructor(failure: ReadFailure) {
    const where = `${failure.bytes} bytes at offset ${failure.offset} of ${failure.file}`;
    super(
      failure.errno === 0
        ? `${where} are gone: the file was truncated while the model was running. Restore the file and open the model again.`
        : `Reading ${where} failed with ${getSystemErrorName(-failure.errno)}. Check the drive, then open the model again.`,
    );
    this.file = failure.file;
    this.offset = failure.offset;
    this.bytes = failure.bytes;
    this.errno = failure.errno;
  }
}

/** The file's size or time of change is not what it was when the model was opened. */
export class ModelChangedError extends Error {
  override readonly name = "ModelChangedError";
  readonly path: string;

  constructor(path: string) {
    super(`${path} was changed while the model was open; its weights cannot be trusted. Open the model again.`);
    this.path = path;
  }
}

/** A router chose an expert that the model does not have: broken weights, or a graph that is not understood. */
export class RouterDecisionError extends Error {
  override readonly name = "RouterDecisionError";

  constructor(layer: number, expert: number, experts: number) {
    super(
      `The router of MoE layer ${layer} chose expert ${expert} of ${experts}. The file is damaged (not-a-number weights), ` +
        "or the architecture cannot be streamed; compare with --memory all.",
    );
  }
}

/** The memory budget cannot hold what the model needs at least. */
export class BudgetTooSmallError extends Error {
  override readonly name = "BudgetTooSmallError";
  readonly budgetBytes: number;
  readonly smallestBudgetBytes: number;

  constructor(budgetBytes: number, smallestBudgetBytes: number, advice: string) {
    const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    super(
      `A budget of ${mib(budgetBytes)} is too small; the smallest that works is ${mib(smallestBudgetBytes)}. ${advice}`,
    );
    this.budgetBytes = budgetBytes;
    this.smallestBudgetBytes = smallestBudgetBytes;
  }
}

/** A running call was given up because its AbortSignal fired. */
export class GenerationAbortedError extends Error {
  override readonly name = "AbortError";

  constructor() {
    super("The generation was aborted.");
  }
}

/** llama.cpp could not compute a batch. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  readonly code: number;

  constructor(code: number, log: readonly string[]) {
    super(`llama.cpp could not compute the batch (code ${code})${log.length > 0 ? `: ${log.join(" | ")}` : "."}`);
    this.code = code;
  }
}

/** Prompt and answer together are longer than the context. */
export class ContextFullError extends Error {
  override readonly name = "ContextFullError";
  readonly promptTokens: number;
  readonly contextTokens: number;

  constructor(promptTokens: number, contextTokens: number) {
    super(
      `The prompt has ${promptTokens} tokens and the context holds ${contextTokens}. Shorten it or use a larger --ctx-size.`,
    );
    this.promptTokens = promptTokens;
    this.contextTokens = contextTokens;
  }
}
