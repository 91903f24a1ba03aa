/** The program of a tuning thread: works on the layers it is sent, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import type { InputFiles } from "./captured-inputs.ts";
import { TuneError } from "./errors.ts";
import { type LayerTask, runLayerTask } from "./layer-tasks.ts";
import type { LayerReply } from "./layer-workers.ts";

const PROGRESS_INTERVAL_MS = 100;

const files = workerData as InputFiles;
const reply = (message: LayerReply) => parentPort?.postMessage(message);

parentPort?.on("message", (task: LayerTask) => {
  let tokens = 0;
  let toldAt = performance.now();
  try {
    const result = runLayerTask(files, task, (more) => {
      tokens += more;
      if (performance.now() - toldAt < PROGRESS_INTERVAL_MS) return;
      reply({ type: "tokens", tokens });
      tokens = 0;
      toldAt = performance.now();
    });
    reply({ type: "tokens", tokens });
    reply({ type: "done", result });
  } catch (error) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    const kind = error instanceof TuneError ? error.kind : undefined;
    reply({ type: "failed", name, message, stack, kind });
  }
});
