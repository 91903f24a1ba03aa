/**
 * The ways in which a command is told to stop: signals of the terminal or the system, and an output that nobody reads any
 * more. It only tells; what is stopped, and what is said about it, is the command's business.
 */
import { EXIT, InterruptedError, OutputClosedError } from "./failure.ts";

/** SIGHUP: the terminal was closed. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Calls `onSignal` with the signal's name instead of ending the process, until disposed. */
export function listenForSignals(onSignal: (name: string) => void): Disposable {
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    [Symbol.dispose]() {
      for (const name of SIGNALS) process.removeListener(name, onSignal);
    },
  };
}

/**
 * An AbortSignal that fires with an `InterruptedError` at the first signal, or an `OutputClosedError`. The second signal
 * ends the process at once; its exit takes the model's process along.
 */
export function stopSignal(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const signals = listenForSignals((name) => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort(new InterruptedError(name));
  });
  const onError = (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") controller.abort(new OutputClosedError());
  };
  process.stdout.on("error", onError);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      signals[Symbol.dispose]();
      process.stdout.removeListener("error", onError);
    },
  };
}

/** Keeps a closed pipe from ending the process with a stack trace; other errors of the streams still do. */
export function endQuietlyOnClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
}
