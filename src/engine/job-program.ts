/**
 * The other end of `job-process.ts`: what a program does that is started for one job. It is told to stop in two ways at once: a
 * byte for the graph that is being computed, and a message for everything else.
 */
import { dieWithParent, mapShared, PAGE_BYTES } from "../memory/libc.ts";
import { ABORT_DESCRIPTOR } from "./abort-file.ts";
import { type PortableError, toPortable } from "./protocol.ts";

export type JobRequest<Job> = { readonly type: "job"; readonly job: Job } | { readonly type: "stop" };

export type JobMessage<Event, Outcome> =
  | { readonly type: "event"; readonly event: Event }
  | { readonly type: "done"; readonly outcome: Outcome }
  | { readonly type: "failed"; readonly error: PortableError };

export interface JobContext<Event> {
  /** Of a byte that turns non-zero when a running batch is to be given up. */
  readonly abortAddress: number | undefined;
  readonly signal: AbortSignal;
  /** Progress: told now and then, and where it stood at the end. */
  readonly tell: (event: Event) => void;
  /** Told at once, and never left out. */
  readonly announce: (event: Event) => void;
}

const PROGRESS_INTERVAL_MS = 100;

/** To be called once, by the program's main module. The process ends after `work`. */
export function serveJob<Job, Event, Outcome>(work: (job: Job, context: JobContext<Event>) => Promise<Outcome>): void {
  // In the middle of a batch nothing is noticed: without this it computes on after its parent was killed.
  if (process.platform === "linux") dieWithParent();
  const abortAddress = process.platform === "linux" ? mapShared(ABORT_DESCRIPTOR, PAGE_BYTES) : undefined;
  const stop = new AbortController();
  let toldAt = 0;
  let untold: { readonly event: Event } | undefined;
  const send = (message: JobMessage<Event, Outcome>) => void process.send?.(message);
  const tellRest = () => {
    if (untold !== undefined) send({ type: "event", event: untold.event });
    untold = undefined;
  };
  const context: JobContext<Event> = {
    ...{ abortAddress, signal: stop.signal },
    tell: (event) => {
      untold = { event };
      const now = performance.now();
      if (now - toldAt < PROGRESS_INTERVAL_MS) return;
      toldAt = now;
      tellRest();
    },
    announce: (event) => {
      tellRest();
      send({ type: "event", event });
    },
  };
  /** The last message, gone before the channel closes: one of megabytes is otherwise lost with it. */
  const deliver = (message: JobMessage<Event, Outcome>) =>
    new Promise<void>((resolve) => {
      if (process.send === undefined) resolve();
      else process.send(message, undefined, undefined, () => resolve());
    });
  const run = async (job: Job) => {
    let last: JobMessage<Event, Outcome>;
    try {
      last = { type: "done", outcome: await work(job, context) };
    } catch (error) {
      last = { type: "failed", error: toPortable(error) };
    }
    // How far it came is told even when nothing more will be.
    tellRest();
    await deliver(last);
    process.disconnect();
  };

  process.on("message", (request: JobRequest<Job>) => {
    if (request.type === "stop") stop.abort(new Error("stopped"));
    else void run(request.job);
  });
  // The terminal sends Ctrl-C to the whole group; the parent decides what it means.
  process.on("SIGINT", () => {});
  process.on("disconnect", () => process.exit(0));
}
