/** The program of a training thread: trains the heads it is sent, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import { type HeadTask, trainHead } from "./train-head.ts";
import type { TrainingReply, TrainingWorkerData } from "./training-workers.ts";

const PROGRESS_INTERVAL_MS = 100;

const { set, plan } = workerData as TrainingWorkerData;
const reply = (message: TrainingReply) => parentPort?.postMessage(message);

parentPort?.on("message", (task: HeadTask) => {
  let tokens = 0;
  let toldAt = performance.now();
  try {
    const trained = trainHead(set, task, plan, (more) => {
      tokens += more;
      if (performance.now() - toldAt < PROGRESS_INTERVAL_MS) return;
      reply({ type: "tokens", tokens });
      tokens = 0;
      toldAt = performance.now();
    });
    reply({ type: "tokens", tokens });
    reply({ type: "trained", trained });
  } catch (error) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    reply({ type: "failed", name, message, stack });
  }
});
