/**
 * Arrivals out of a CSV file of the shape of the Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, a
 * request a line, in the order of time. Reads no further than requests are wanted.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { type Arrival, checkRate } from "./arrivals.ts";
import { WorkloadError } from "./errors.ts";

export interface AzureArrivalsOptions {
  /** @default all */
  readonly requests?: number;
  /** Stretches the times to this mean rate. @default as recorded */
  readonly perSecond?: number;
}

const COLUMNS = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"] as const;

/** @throws WorkloadError `unreadable`, `bad-file`, `bad-record`, `too-few`, `option` */
export async function readAzureArrivals(file: string, options: AzureArrivalsOptions = {}): Promise<Arrival[]> {
  const { requests, perSecond } = options;
  if (perSecond !== undefined) checkRate(perSecond);
  const arrivals: Required<Arrival>[] = [];
  const input = createReadStream(file);
  try {
    const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
    let line = 0;
    let places: readonly number[] = [];
    for await (const text of lines) {
      line++;
      if (line === 1) places = header(text, file);
      else if (text.trim() !== "") arrivals.push(arrival(text, places, { file, line }, arrivals.at(-1)));
      if (arrivals.length === requests) break;
    }
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).syscall !== "string") throw error;
    throw new WorkloadError("unreadable", { file }, `It cannot be read: ${(error as Error).message}.`, error);
  } finally {
    input.destroy();
  }
  if (arrivals.length < (requests ?? 1))
    throw new WorkloadError("too-few", { file }, `It has ${arrivals.length} requests, not ${requests ?? "one"}.`);
  const [{ arrivalMs: first }] = arrivals;
  const lastMs = (arrivals.at(-1) as Arrival).arrivalMs - first;
  const stretch = perSecond === undefined || lastMs === 0 ? 1 : (1000 * (arrivals.length - 1)) / perSecond / lastMs;
  return arrivals.map((one) => ({ ...one, arrivalMs: (one.arrivalMs - first) * stretch }));
}

/** Where each column stands. */
function header(text: string, file: string): readonly number[] {
  const names = text
    .replace(/^\uFEFF/, "")
    .split(",")
    .map((name) => name.trim());
  const places = COLUMNS.map((name) => names.indexOf(name));
  if (places.includes(-1))
    throw new WorkloadError("bad-file", { file, line: 1 }, `The first line must name ${COLUMNS.join(", ")}.`);
  return places;
}

/** `arrivalMs` is still of the clock. */
function arrival(
  text: string,
  places: readonly number[],
  place: { readonly file: string; readonly line: number },
  before: Arrival | undefined,
): Required<Arrival> {
  const fields = text.split(",");
  const [time, promptTokens, outputTokens] = places.map((at) => fields[at]?.trim() ?? "");
  const arrivalMs = clockMs(time);
  const bad = (what: string) => new WorkloadError("bad-record", place, what);
  if (Number.isNaN(arrivalMs)) throw bad(`${JSON.stringify(time)} is no time such as 2023-11-16 18:15:46.6805900.`);
  if (before !== undefined && arrivalMs < before.arrivalMs) throw bad("It came before the request on the line above.");
  if (![promptTokens, outputTokens].every((count) => /^\d{1,9}$/.test(count)))
    throw bad(`${JSON.stringify(text.slice(0, 80))} has no two counts of tokens.`);
  return { arrivalMs, promptTokens: Number(promptTokens), outputTokens: Number(outputTokens) };
}

/** Seven digits of a second are more than `Date` takes, and a zone may follow; without one it is UTC. */
function clockMs(text: string): number {
  const parts = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  if (parts === null) return Number.NaN;
  const [, day, time, fraction = "", zone = "Z"] = parts;
  return Date.parse(`${day}T${time}${zone}`) + 1000 * Number(`0${fraction}`);
}
