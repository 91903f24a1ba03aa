/** One thread of an analysis: opens the trace for itself, analyses the parts it is given, and hands over what it counted. */
import { parentPort, workerData } from "node:worker_threads";
import type { TraceSource } from "../trace/trace.ts";
import type { WorkerReply, WorkerRequest, WorkerTask } from "./analysis-workers.ts";
import { buffersOf } from "./phase-sums.ts";
import { SampleAnalyzer } from "./sample-analyzer.ts";
import { takeApart } from "./thread-errors.ts";

const PROGRESS_INTERVAL_MS = 100;

const port = parentPort;
if (port === null) throw new Error("this module is a worker thread's");
const { plan, opener } = workerData as WorkerTask;
const reply = (message: WorkerReply, transfer: readonly ArrayBuffer[] = []) => port.postMessage(message, [...transfer]);

try {
  const module = (await import(opener.module)) as Record<string, (argument: unknown) => Promise<TraceSource>>;
  const source = await module[opener.name](opener.argument);
  const analyzer = new SampleAnalyzer(plan);
  port.on("message", (request: WorkerRequest) => {
    const done = request === "finish" ? finish(analyzer) : analyzePart(source, analyzer, request.part);
    done.catch(fail);
  });
  reply({ kind: "ready" });
} catch (error) {
  fail(error);
}

async function analyzePart(source: TraceSource, analyzer: SampleAnalyzer, part: number): Promise<void> {
  const wanted = { tokens: plan.columns.tokens, predictions: plan.columns.predictions };
  let tokens = 0;
  let toldAt = performance.now();
  for await (const sample of source.samples(part, wanted)) {
    analyzer.add(sample);
    tokens += sample.length;
    if (performance.now() - toldAt < PROGRESS_INTERVAL_MS) continue;
    reply({ kind: "progress", tokens });
    tokens = 0;
    toldAt = performance.now();
  }
  reply({ kind: "progress", tokens });
  reply({ kind: "ready" });
}

async function finish({ sums }: SampleAnalyzer): Promise<void> {
  reply({ kind: "sums", sums }, [...sums.values()].flatMap(buffersOf));
  port?.close();
}

function fail(error: unknown): void {
  reply({ kind: "failed", error: takeApart(error) });
}
