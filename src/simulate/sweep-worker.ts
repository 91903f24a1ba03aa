/** The program of a sweep's worker thread: replays the samples it is sent in its lanes, and answers with their rows. */
import { parentPort, workerData } from "node:worker_threads";
import { LaneRunner } from "./sweep.ts";
import type { SweepMessage, SweepReply, SweepWorkerData } from "./sweep-workers.ts";

const { lanes, conditions } = workerData as SweepWorkerData;
const runner = new LaneRunner(lanes, conditions);
const reply = (message: SweepReply) => parentPort?.postMessage(message);

async function handle(message: SweepMessage): Promise<void> {
  try {
    if (message === undefined) return reply({ type: "rows", rows: await runner.rows() });
    await runner.sample(message.sample, message.signals);
    reply({ type: "done" });
  } catch (error) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    reply({ type: "failed", name, message, stack });
  }
}

// One after the other: replaying a sample lets messages in.
let before = Promise.resolve();
parentPort?.on("message", (message: SweepMessage) => {
  before = before.then(() => handle(message));
});
