/** The program of a suite's worker thread: simulates the runs that it is sent, one at a time, on the trace that it was given. */
import { parentPort, workerData } from "node:worker_threads";
import type { RunReply, RunTask } from "./run-workers.ts";
import { type SimulationGround, simulateRun, teach } from "./simulated-run.ts";

const ground = workerData as SimulationGround;

parentPort?.on("message", async (task: RunTask) => {
  let reply: RunReply;
  try {
    reply =
      task.type === "run"
        ? { type: "run", figures: await simulateRun(ground, task.run) }
        : { type: "teach", taught: await teach(ground, task.run) };
  } catch (error) {
    reply = { type: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(reply);
});
