/** Errors on their way between threads, which keep neither class nor fields: taken apart on one side, made again on the other. */
import { TraceError, type TraceErrorKind, type TracePlace } from "../trace/trace-error.ts";
import { TooManyDomainsError } from "./sample-analyzer.ts";

export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Of a TraceError. */
  readonly trace: { readonly kind: TraceErrorKind; readonly place: TracePlace } | undefined;
}

export function takeApart(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: undefined, trace: undefined };
  const { name, message, stack } = error;
  return {
    name,
    message,
    stack,
    trace: error instanceof TraceError ? { kind: error.kind, place: error.place } : undefined,
  };
}

export function putTogether({ name, message, stack, trace }: PlainError): Error {
  if (name === "TooManyDomainsError") return new TooManyDomainsError();
  // The message has the place in it already.
  const error =
    trace === undefined
      ? Object.assign(new Error(message), { name })
      : Object.assign(new TraceError(trace.kind, {}, message), { place: trace.place });
  return stack === undefined ? error : Object.assign(error, { stack });
}
